"""The verdict on studies: evidence of made-up trials, and what studies in this process leave on their parent run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState
from support import artifact_folder, in_ci
from test_results import config, parent_of, study

from tradingbot_exp.config.schema import Config, DataConfig, EvaluationConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.synthetic import synthetic_panel
from tradingbot_exp.evaluation.significance.across import date_means
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.series import sums_before
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.results.bars import (
    ALL,
    BEFORE,
    FORECASTS,
    RETURNS,
    Kept,
    as_sums,
    kept_of,
    load_bars,
    save_bars,
)
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.study import StudyResult
from tradingbot_exp.hpo.trials import best_trials
from tradingbot_exp.hpo.verdict import null_search as null_replay
from tradingbot_exp.hpo.verdict import seed_robustness
from tradingbot_exp.hpo.verdict.judge import _attempt, _judged, evidence_of

__all__ = ["config"]  # a fixture
SPACE = {"training.batch_size": [16, 32, 64, 128]}


def made_up(values: list[float | None], pruned: int = 0) -> list[FrozenTrial]:
    """Trials at points of their own, complete with a value or failed without; then pruned ones at the last point."""
    distribution = optuna.distributions.IntDistribution(0, 1000)
    trials = []
    for number, value in enumerate([*values, *[None] * pruned]):
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        state = TrialState.PRUNED if number >= len(values) else state
        trial = optuna.trial.create_trial(
            state=state, value=value, params={"n": min(number, len(values))}, distributions={"n": distribution}
        )
        trial.number = number
        trials.append(trial)
    return trials


def asked(config: Config) -> Any:
    return SimpleNamespace(config=config, space=SearchSpace.parse(SPACE))


def validated(config: Config) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    """Dates, targets and train means of all validated bars."""
    views = fold_views(load_data(config), config.evaluation)
    dates = [view.dates(view.val) for view in views]
    means = [np.full(len(view.val), view.targets(view.train).mean()) for view in views]
    return dates[0].append(dates[1:]), np.concatenate([v.targets(v.val) for v in views]), np.concatenate(means)


def kept(config: Config, forecasts: dict[str, Any], returns: dict[str, Any]) -> dict[Kept, pd.DataFrame]:
    """What trials would leave: of forecasts and returns by trial, and of train rows on which they forecast the mean."""
    dates, _, _ = validated(config)
    views = fold_views(load_data(config), config.evaluation)
    targets = [view.targets(view.train) for view in views]
    sums = [sums_before(known, known, np.expm1(known), np.zeros(len(known))) for known in targets]
    names = dict.fromkeys([*forecasts, *returns])
    before = pd.DataFrame({name: as_sums(np.stack(sums)) for name in names})
    return {FORECASTS: pd.DataFrame(forecasts, dates), RETURNS: pd.DataFrame(returns, dates), BEFORE: before}


@pytest.mark.parametrize("scheme", ["chronological", "walk_forward", "purged_kfold"])
def test_evidence_holds_outcomes_forecasts_folds_and_what_was_known_before(config: Config, scheme: str) -> None:
    config.evaluation.scheme, config.hpo.metric, config.hpo.direction = scheme, "val_ic", "maximize"
    _, actual, means = validated(config)
    matrices = kept(config, {"0": means, "2": actual}, {})
    trials = made_up([0.1, 0.2, 0.3, None], pruned=2)
    found = evidence_of(config, trials, trials[2], matrices, ever=50)
    assert found.forecasts is not None and found.actual is not None and found.winner == 1
    np.testing.assert_array_equal(found.actual, actual)
    np.testing.assert_array_equal(found.forecasts, np.column_stack([means, actual]))
    assert (found.tried, found.ever, found.planned, found.family) == (5, 50, 3, "forecast")
    assert found.returns is None and found.before is not None and found.folds is not None
    views = fold_views(load_data(config), config.evaluation)
    assert np.bincount(found.folds).tolist() == [len(view.val) for view in views]
    assert found.before.dates.tolist() == [[len(view.train)] * 2 for view in views]


def test_a_trial_without_forecasts_has_a_column_without_values(config: Config) -> None:
    _, actual, _ = validated(config)
    trials = made_up([0.1, 0.2])
    matrices = kept(config, {"1": actual}, {"0": 0.001 * actual, "1": actual})
    found = evidence_of(config, trials, trials[0], matrices, ever=0)
    assert found.forecasts is not None
    assert np.isnan(found.forecasts[:, 0]).all() and np.isfinite(found.forecasts[:, 1]).all()
    assert found.returns is not None and np.isfinite(found.returns).all() and found.market is not None
    said = _judged(asked(config), trials, trials[0], matrices, 0)
    assert said["word"] == "cannot be told" and "forecasts on the validation bars were not kept" in said["headline"]


def test_a_forecast_that_never_moves_shows_nothing_of_a_panel(config: Config, tmp_path: Path) -> None:
    config.data = DataConfig("synthetic", "synthetic", synthetic=SyntheticConfig(bars=400, symbols=5))
    data, trials, matrices = load_data(config), made_up([0.1, 0.2]), dict.fromkeys(ALL, pd.DataFrame())
    layout, actual = data.layout, data.targets(data.val)
    assert layout is not None
    train = date_means(data.targets(data.train), data.targets(data.train), layout.take(data.train.rows), own=False)
    sums = sums_before(train.actual, train.forecast, square=train.square)[None]
    for number, forecast in enumerate((np.full(len(actual), 0.1 / 3), actual)):
        result: Any = SimpleNamespace(rows=data.val, actual=actual, forecast=forecast, net=None, before=sums)
        save_bars(tmp_path, data.days(data.val), kept_of(config, data, result))
        saved = load_bars(tmp_path, data.index)
        for each in ALL:
            if each.field in saved:
                matrices[each] = matrices[each].assign(**{str(number): saved[each.field]})
    still, moving = (evidence_of(config, trials, each, matrices, ever=0).forecast_part for each in trials)
    assert still is not None and still.is_still
    assert moving is not None and not moving.is_still
    np.testing.assert_array_equal(
        moving.values[:, 1], date_means(actual, actual, layout.take(data.val.rows), own=False).forecast
    )


def test_a_planted_winner_is_real_and_noise_is_not(config: Config) -> None:
    config.evaluation.periods_per_year = 252
    _, actual, means = validated(config)
    rng = np.random.default_rng(0)
    noise = {str(number): means + 0.002 * rng.standard_normal(len(means)) for number in range(20)}
    trials = made_up([1.0 - number / 100 for number in range(20)])
    for word, planted in (("not shown", noise["19"]), ("real", means + 0.5 * (actual - means))):
        found = _judged(asked(config), trials, trials[19], kept(config, noise | {"19": planted}, {}), 0)
        assert found["word"] == word, found["headline"]
        assert json.loads(json.dumps(found, allow_nan=False))["count"] == 20
        assert sum(count for _, count in found["pbo_logits"]) == 12_870


def test_a_winner_on_a_column_that_is_too_good_to_be_true_is_not_called_real(config: Config, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = 0.01 * rng.standard_normal(600)
    table = {"honest": rng.standard_normal(600), "late": target + 0.005 * rng.standard_normal(600), "y": target}
    dates = pd.bdate_range("2020-01-01", periods=600, name="date")
    pd.DataFrame(table, dates).to_csv(tmp_path / "table.csv")
    config.data.source = config.data.name = "table"
    config.data.path, config.data.target = str(tmp_path / "table.csv"), "y"
    config.evaluation.periods_per_year = 252
    for features, word in ((["honest"], "real"), (["honest", "late"], "cannot be told")):
        config.data.features = features
        _, actual, means = validated(config)
        trials = made_up([1.0, 0.5])
        matrices = kept(config, {"0": means, "1": means + 0.5 * (actual - means)}, {})
        found = _judged(asked(config), trials, trials[1], matrices, 0)
        assert found["word"] == word, found["headline"]
        assert found["inputs"] == {"real": "not checked", "cannot be told": "leaks"}[word]
        if word == "real":
            assert found["headline"].startswith(
                "Real, if its inputs know no future (not checked): the winner's forecasts"
            )
            assert found["reasons"][0] == "Nobody can see whether they do: honest."
    assert "late (0.89) looks" in found["headline"]
    assert found["reasons"][0].startswith("But for that: Real: the winner's forecasts move with the outcome")


def test_returns_are_judged_where_they_were_searched_and_of_several_metrics_the_first(config: Config) -> None:
    config.hpo.metric, config.hpo.direction = ["val_sharpe", "val_loss"], ["maximize", "minimize"]
    config.hpo.repeats, config.evaluation.periods_per_year = 2, 252
    _, actual, means = validated(config)
    market = np.expm1(actual)
    trials = made_up([1.0, 2.0])
    returns = {"0": market + 0.0 * market, "1": market + 0.01 + 0.001 * np.sin(np.arange(len(market)))}
    found = _judged(asked(config), trials, trials[1], kept(config, {"0": means, "1": means}, returns), 0)
    assert (found["word"], found["family"], found["winner"]) == ("real", "return", 1)
    assert found["reasons"][0] == "Of several metrics the first is judged, val_sharpe, and its best: 1."
    assert found["reasons"][-1] == "What is tested are the bars of the first of 2 seeds."
    assert found["numbers"]["alpha_sharpe"]["value"] > 10


def test_what_cannot_be_judged_says_why(config: Config) -> None:
    assert _judged(asked(config), [], None, {}, 0)["headline"] == "Cannot be told: no trial is complete."
    _, actual, _ = validated(config)
    trials = made_up([0.1])
    infinite = kept(config, {"0": np.full(len(actual), np.inf)}, {})
    assert "infinite" in _attempt(lambda: _judged(asked(config), trials, trials[0], infinite, 0), "no")["problem"]


def test_the_winner_is_the_first_of_the_best() -> None:
    made = optuna.create_study(direction="maximize")
    made.add_trials(made_up([1.0, 3.0, None, 3.0]))
    assert [trial.number for trial in best_trials(made)] == [1, 3, 0]
    assert best_trials(optuna.create_study()) == []
    several = optuna.create_study(directions=["maximize", "minimize"])
    for number, values in enumerate([(1.0, 1.0), (3.0, 9.0), (3.0, 5.0), (2.0, 4.0)]):
        several.add_trial(optuna.trial.create_trial(values=values, user_attrs={"number": number}))
    assert [trial.number for trial in best_trials(several)] == [
        2,
        3,
        0,
    ]  # the front, the best in the first metric first


def test_a_permutation_has_each_row_once_and_keeps_blocks_together() -> None:
    rows = null_replay.block_permutation(103, 10, np.random.default_rng(1))
    assert sorted(rows) == list(range(103))
    together = np.mean(np.diff(rows) % 103 == 1)
    assert 0.85 < together < 0.95
    assert null_replay.block_permutation(0, 3, np.random.default_rng(0)).size == 0


def test_no_row_comes_to_one_that_has_seen_it_but_for_a_last_block_that_is_shorter() -> None:
    for seed in range(20):
        rows = null_replay.block_permutation(484, 3, np.random.default_rng(seed), 34)
        later = np.arange(484) - rows
        assert sorted(rows) == list(range(484)) and ((later >= 0) & (later <= 34)).sum() <= 484 % 3
        assert np.mean(np.diff(rows) == 1) > 0.6
    assert sorted(null_replay.block_permutation(30, 3, np.random.default_rng(0), 34)) == list(range(30))


@pytest.mark.parametrize("scheme", ["chronological", "purged_kfold"])
def test_permuted_targets_keep_their_returns_their_part_and_the_test_rows(config: Config, scheme: str) -> None:
    config.evaluation.scheme = scheme
    data = load_data(config)
    null = null_replay.permuted(data, config.evaluation, 3, np.random.default_rng(0))
    assert null.raw is data.raw and data.next_return is not None and null.next_return is not None
    pairs = set(zip(data.target, data.next_return, strict=True))
    assert set(zip(null.target, null.next_return, strict=True)) == pairs
    np.testing.assert_array_equal(null.target[data.val.stop :], data.target[data.val.stop :])
    same = sorted(null.target[data.val.rows]) == sorted(data.target[data.val.rows])
    assert same == (scheme == "chronological")
    assert np.mean(null.target[data.val.rows] == data.target[data.val.rows]) < 0.1


@pytest.mark.parametrize("scheme", ["chronological", "purged_kfold"])
def test_permuted_dates_of_a_panel_keep_together_what_was_and_each_symbol_its_targets(
    tmp_path: Path, scheme: str
) -> None:
    whole = dict(zip("ABCD", synthetic_panel(SyntheticConfig(bars=500, symbols=4)).values(), strict=True))
    gaps = np.ones(500, bool)
    gaps[[100, 150, *range(420, 430)]] = False  # the long one lies where the validation part ends
    frames = whole | {"B": whole["B"].iloc[200:], "D": whole["D"][gaps]}
    rows = pd.concat([frame.assign(symbol=symbol) for symbol, frame in frames.items()])
    rows.to_csv(tmp_path / "bars.csv")
    features = ["ret_1", "clv"]
    asked = DataConfig("csv", "csv", str(tmp_path / "bars.csv"), symbols="all", features=features, horizon=2)
    data = prepare_data(asked)
    assert data.next_return is not None and len(set(data.target)) == len(data.target)
    null = null_replay.permuted(data, EvaluationConfig(scheme=scheme), 5, np.random.default_rng(0))
    assert null.next_return is not None
    place = {value: row for row, value in enumerate(data.target)}
    source = np.array([place[value] for value in null.target])
    np.testing.assert_array_equal(null.next_return, data.next_return[source])
    assert sorted(source) == list(range(len(source)))
    layout, known = data.panel.layout, data.panel.known
    symbols, date = layout.symbols, layout.date
    np.testing.assert_array_equal(symbols[source], symbols)
    late = known >= date[data.test.start]
    assert (late & (np.arange(len(late)) < data.val.stop) & (symbols == "D")).any()
    assert (source[late] == np.flatnonzero(late)).all()
    inside = np.flatnonzero(~late)
    assert (source[inside] < data.val.stop).all() and np.mean(source[inside] == inside) < 0.1
    if scheme == "chronological":
        assert ((source < data.val.start) == (np.arange(len(source)) < data.val.start)).all()
    # A and C have a row on each date; B and D go with them wherever they have one on both dates.
    goes_to = {date[row]: date[source[row]] for row in inside if symbols[row] == "A"}
    has = {(symbols[row], date[row]) for row in inside}
    for name in "BCD":
        own = [row for row in inside if symbols[row] == name and (name, goes_to.get(date[row])) in has]
        assert own and all(date[source[row]] == goes_to[date[row]] for row in own)
    steps = np.diff([goes_to[each] for each in sorted(goes_to)])
    assert 0.7 < np.mean(steps == 1) < 0.9


def verdict_of(config: Config, result: StudyResult) -> tuple[Run, dict[str, Any]]:
    parent = parent_of(config, result)
    return parent, json.loads((artifact_folder(parent) / "study" / "verdict.json").read_text())


def null_runs(config: Config) -> list[Run]:
    client = MlflowClient(config.tracking.uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids, "tags.`run.kind` = 'null_study'", order_by=["attributes.start_time ASC"])


@in_ci
def test_replays_are_recorded_go_on_where_they_were_and_tell_where_the_winner_stands(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.hpo.null_replays, config.hpo.reseeds, config.training.epochs = 2, 2, 2
    train, calls = null_replay.silent_values, []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 5:  # in the second replay
            raise KeyboardInterrupt
        return train(*given)

    monkeypatch.setattr(null_replay, "silent_values", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(config)
    assert [run.info.status for run in null_runs(config)] == ["FINISHED", "KILLED"]
    result = study(config)
    parent, found = verdict_of(config, result)
    runs = [run for run in null_runs(config) if run.info.status == "FINISHED"]
    assert parent.info.status == "FINISHED" and len(runs) == 2
    assert {run.data.tags["null_of"] for run in runs} == {parent.info.run_id}
    assert {run.data.metrics["trials"] for run in runs} == {3.0}
    data = load_data(config)
    length = np.ceil(max(1.0, block_length(data.targets(data.train))))
    assert {run.data.tags["null.block"] for run in runs} == {f"{length:.0f}"}
    replays = found["null_replays"]
    assert sorted(replays["values"]) == sorted(run.data.metrics["best_value"] for run in runs)
    assert len(set(replays["values"])) == 2
    as_good = sum(value <= result.best[0].value for value in replays["values"])
    assert (replays["as_good"], replays["p"]) == (as_good, (1 + as_good) / 3)
    assert parent.data.metrics["verdict_null_p"] == pytest.approx(replays["p"])
    assert "of 2 searches on permuted targets found as good a val_loss" in capsys.readouterr().out
    seeds = found["seeds"]
    assert seeds["seeds"] == [43, 44] and len(set(seeds["values"])) == 2
    before, config.hpo.reseeds = len(calls), 1
    _, again = verdict_of(config, study(config))
    assert len(calls) == before and len(null_runs(config)) == 3
    assert again["seeds"] == seeds and again["null_replays"] == replays


def test_a_verdict_is_recorded_before_other_seeds_that_may_be_interrupted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.hpo.num_trials, config.hpo.reseeds, config.training.epochs = 1, 1, 1

    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(seed_robustness, "silent_seeds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(config)
    client = MlflowClient(config.tracking.uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (parent,) = client.search_runs(ids, "tags.`run.kind` = 'study'")
    assert parent.info.status == "KILLED" and parent.data.tags["verdict"] == "not shown"
    found = json.loads((artifact_folder(parent) / "study" / "verdict.json").read_text())
    assert found["tested"] == 1 and "seeds" not in found


@in_ci
def test_the_winner_with_another_seed_is_what_a_study_with_that_seed_finds(config: Config, workdir: Path) -> None:
    config.hpo.num_trials, config.hpo.reseeds, config.hpo.param_space = 1, 1, {"batch_size": [16]}
    _, found = verdict_of(config, study(config))
    config.seed, config.hpo.reseeds = 43, 0
    result = study(config)
    assert found["seeds"]["values"] == [pytest.approx(result.best[0].value)]
    parent, alone = verdict_of(config, result)
    assert alone["seeds"] is None and "winner_seed_mean" not in parent.data.metrics
