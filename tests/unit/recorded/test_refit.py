"""`refit` trains a run's network on all bars up to a date, as a training by hand does, and the seal counts it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from sklearn.preprocessing import StandardScaler
from support import artifact_folder, in_ci
from support import train as train_command

from tradingbot_exp import load_run, train
from tradingbot_exp.cli.main import run as command
from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.identity import identity_tags, stamp
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.data.synthetic import synthetic_bars, synthetic_panel
from tradingbot_exp.data.whole import whole_view
from tradingbot_exp.errors import ConfigError, DataError, RunError
from tradingbot_exp.models.registry import build_model
from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.recorded.refit import refit
from tradingbot_exp.reporting.page.page import Notice, Paragraph
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.test_set import test_set_blocks as blocks_of
from tradingbot_exp.tracking.reading.fetch import training_record
from tradingbot_exp.tracking.reading.ledger import read_ledger
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates, recorded_returns
from tradingbot_exp.tracking.reading.openings import overlapping_openings
from tradingbot_exp.training.listeners import Hook
from tradingbot_exp.training.loop import train_model
from tradingbot_exp.training.optim import make_optimizer
from tradingbot_exp.training.rng import SeededRng

SMALL = ("model.hidden_layers=[8]", "training.epochs=6", "training.progress=off", "tracking.report=false")
SYNTHETIC = ("data=synthetic", "data.synthetic.bars=500")


@pytest.fixture
def here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workdir)
    return workdir


def trained(*words: str) -> LoadedRun:
    return load_run(train([*SMALL, *words]).run_id)


def weights_of(run: LoadedRun) -> dict[str, torch.Tensor]:
    folder = artifact_folder(MlflowClient().get_run(run.run_id))
    found: dict[str, torch.Tensor] = torch.load(folder / "model/data/data/weights.pt", weights_only=True)
    return found


def test_the_weights_are_those_of_a_training_by_hand_on_all_rows(here: Path) -> None:
    run = trained(*SYNTHETIC, "training.scheduler=cosine", "model.hidden_layers=[32]", "training.learning_rate=0.02")
    epochs = int(run.metrics["best_epoch"])
    assert 1 < epochs < 6
    made = run.refit()
    data = prepare_data(run.config.data)
    X = StandardScaler().fit_transform(data.raw).astype(np.float32)
    with SeededRng(42, torch.device("cpu")):
        model = build_model(run.config.model, X.shape[1])
    optimizer = make_optimizer("Adam", model.parameters(), 0.02, 0.0, 0.0)
    stop = [Hook(lambda number, _: number >= epochs)]
    train_model(model, X, data.target, X, data.target, optimizer, None, 6, seed=42, scheduler="cosine", listeners=stop)
    found = weights_of(made)
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items()) and len(found) == 4
    assert set(made.metrics) == {"train_loss", "learning_rate"} and made.tags["refit.epochs"] == str(epochs)
    assert made.tags["refit.run_id"] == run.run_id and made.tags["run.kind"] == "refit"


@pytest.mark.parametrize("horizon", [1, 5, 20])
@pytest.mark.parametrize("symbols", [1, 3])
def test_no_target_is_used_that_was_not_known_by_the_date(
    tmp_path: Path, horizon: int, symbols: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = SyntheticConfig(bars=300, symbols=symbols)
    frames = synthetic_panel(process) if symbols > 1 else {"A": synthetic_bars(process)}
    names = list(frames)
    if symbols > 1:
        frames[names[1]] = frames[names[1]].drop(frames[names[1]].index[150:158])
    dates = frames[names[0]].index
    table = pd.concat([frame.assign(symbol=name) for name, frame in frames.items()]).rename_axis("date").reset_index()
    table.to_csv(tmp_path / "bars.csv", index=False)
    which = {"symbols": "all"} if symbols > 1 else {"symbol": names[0]}
    config = DataConfig(name="csv", source="csv", path=str(tmp_path / "bars.csv"), horizon=horizon, **which)
    data = prepare_data(config)
    for place in (155, 250, *range(300 - horizon, 300)):
        view = whole_view(data, f"{dates[place]:%Y-%m-%d}")
        rows = view.train.numbers
        used = {
            (symbol, date)
            for symbol, date in zip(
                view.layout.symbols[rows] if symbols > 1 else [names[0]] * len(rows),
                view.index[rows],
                strict=True,
            )
        }
        expected = {
            (name, frame.index[at])
            for name, frame in frames.items()
            for at in range(33, len(frame) - horizon)
            if frame.index[at + horizon] <= dates[place]
        }
        # Of a symbol that misses bars some more are left out: their target comes later than that of the others' rows.
        assert used <= expected and len(expected - used) <= (horizon if symbols > 1 else 0)
        assert not len(view.val) and not len(view.test)
        known = {
            frame.index[list(frame.index).index(date) + horizon] for name, date in used for frame in [frames[name]]
        }
        assert identity_tags(config, view)["data.known_end"] == stamp(max(known)) <= stamp(dates[place])
    whole = whole_view(data)
    assert len(whole.train) == sum(len(frame) - 33 - horizon for frame in frames.values())


def test_bars_after_the_date_change_no_weight(here: Path) -> None:
    bars = synthetic_bars(SyntheticConfig(bars=500)).rename_axis("date").reset_index()
    bars.to_csv("bars.csv", index=False)
    run = trained("data=csv", "data.path=bars.csv", "training.ensemble=2")
    through = f"{bars['date'][470]:%Y-%m-%d}"
    first = run.refit(through)
    bars.loc[bars.index > 470, ["open", "high", "low", "close"]] *= 1.01
    bars.to_csv("later.csv", index=False)
    second = run.refit(through, data="later.csv")
    one, other = weights_of(first), weights_of(second)
    assert set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())
    assert first.tags["data.known_end"][:10] == through
    assert any(not torch.equal(value, weights_of(run.refit())[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def ibm(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[LoadedRun]:
    place = tmp_path_factory.mktemp("refitting")
    shutil.copy(store_template, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        bars = load_bars(DataConfig(name="ibm")).frame.reset_index()
        bars.iloc[:-100].to_csv("bars.csv", index=False)
        bars.to_csv("today.csv", index=False)
        load_bars(DataConfig(name="msft")).frame.reset_index().to_csv("other.csv", index=False)
        yield trained("data=csv", "data.path=bars.csv", "data.symbol=null")


def test_what_is_used_of_the_test_set_is_an_opening_and_a_look(ibm: LoadedRun) -> None:
    sealed = ibm.data_card["split"]["test"]
    before = ibm.refit("2008-12-31")
    assert "opened.start" not in before.tags
    made = ibm.refit("2011-06-30")
    assert made.tags["opened.start"][:10] == sealed["start"][:10] and made.tags["opened.end"][:10] == "2011-06-30"
    whole = ibm.refit(data="today.csv")
    assert whole.tags["opened.end"][:10] == sealed["end"][:10]
    assert whole.tags["data.known_end"] > sealed["end"]
    opened = open_test_set(ibm.run_id)
    assert [each.run_id for each in opened.earlier] == [made.run_id, whole.run_id] and opened.number == 3
    returns = recorded_returns(ibm._store, ibm._run)
    asked = MarketDates("file bars.csv", (sealed["start"], sealed["end"]), returns=returns)
    known = {each.run_id for each in looks_at(ibm._store, asked)}
    assert {made.run_id, whole.run_id} <= known and before.run_id not in known
    for run_id in (whole.run_id, opened.evaluation_run_id):  # in one second
        MlflowClient().set_tag(run_id, "opened.at", "2026-01-01T00:00:00+00:00")
    order = [each.run_id for each in overlapping_openings(ibm._store, asked)]
    assert order.index(whole.run_id) < order.index(opened.evaluation_run_id)
    ibm.refit(data="today.csv")  # as each day does: these dates were opened already
    later = trained("data=csv", "data.path=today.csv", "data.symbol=null")
    assert "opened 1 time and learned from by 2 refits, last on" in later.tags["test.overlap"]
    assert open_test_set(ibm.run_id).number == 4 and load_run(ibm.run_id).tags["test.openings"] == "2"


def test_a_bar_whose_return_is_learned_is_opened(ibm: LoadedRun) -> None:
    first, *_ = days = load_bars(DataConfig(name="ibm")).frame[ibm.data_card["split"]["test"]["start"][:10] :].index
    made = ibm.refit(f"{first:%Y-%m-%d}")  # the last row is that of the bar before
    assert made.tags["opened.start"] == made.tags["opened.end"] == made.tags["data.known_end"] == stamp(days[0])


@pytest.mark.parametrize("card", [None, '{"split": null}'])
def test_without_a_data_card_all_bars_after_validation_count_as_the_test_set(here: Path, card: str | None) -> None:
    run = trained(*SYNTHETIC)
    file = artifact_folder(MlflowClient().get_run(run.run_id)) / "data/data_card.json"
    sealed = run.data_card["split"]["test"]["start"]
    if card is None:
        file.unlink()
    else:
        file.write_text(card)
    made = load_run(run.run_id).refit()
    # The last bars of the validation part have no row, as their targets reach into the test part.
    assert run.tags["data.val_end"] < made.tags["opened.start"] <= stamp(pd.Timestamp(sealed))
    assert made.tags["opened.end"] >= run.tags["data.val_end"]


def test_bars_of_other_markets_are_refused_symbol_by_symbol(here: Path) -> None:
    def panel(seed: int) -> pd.DataFrame:
        frames = synthetic_panel(SyntheticConfig(bars=400, symbols=3, seed=seed))
        return pd.concat(frames, names=["symbol", "date"]).reset_index()

    own, foreign = panel(1), panel(2)
    own.to_csv("own.csv", index=False)
    one, *rest = sorted(set(own["symbol"]))
    run = trained("data=csv", "data.path=own.csv", "data.symbols=all")
    for name, bars in (
        ("two.csv", pd.concat([own[own["symbol"] == one], foreign[foreign["symbol"] != one]])),
        ("few.csv", own[own["symbol"] != one]),
        ("more.csv", pd.concat([own, foreign[foreign["symbol"] == one].assign(symbol="X")])),
    ):
        bars.to_csv(name, index=False)
    with pytest.raises(DataError, match=f"two.csv: {', '.join(rest)}: these are not the bars"):
        refit(run.run_id, data="two.csv")
    with pytest.raises(DataError, match=f"few.csv: no usable bars of {one}, which the run"):
        refit(run.run_id, data="few.csv")
    with pytest.raises(DataError, match=r"more.csv: X: these are not the bars"):
        refit(run.run_id, data="more.csv")
    assert refit(run.run_id, data="own.csv").rows > 0


def test_bars_that_cannot_be_compared_are_refused_where_they_are_given(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bars = synthetic_bars(SyntheticConfig(bars=400)).rename_axis("date").reset_index()
    bars.to_csv("bars.csv", index=False)
    run = trained("data=csv", "data.path=bars.csv")
    bars.assign(date=pd.date_range("1950-01-02", periods=400, freq="B")).to_csv("elsewhere.csv", index=False)
    bars.assign(date=pd.date_range("1950-01-02", periods=400, freq="h")).to_csv("hourly.csv", index=False)
    with pytest.raises(DataError, match=r"elsewhere.csv: whether .* since fewer than 60 dates are shared"):
        refit(run.run_id, data="elsewhere.csv")
    with pytest.raises(DataError, match=r"hourly.csv: the bars are 60-minute bars.* trained on daily"):
        refit(run.run_id, data="hourly.csv")
    (artifact_folder(MlflowClient().get_run(run.run_id)) / "data/market_returns.parquet").unlink()
    assert refit(run.run_id).rows > 0
    assert f"since the run {run.run_id} ({run.name}) recorded no returns" in caplog.text
    with pytest.raises(DataError, match="recorded no returns"):
        refit(run.run_id, data="bars.csv")


def test_a_run_of_a_plain_sweep_is_compared_by_its_own_returns(here: Path) -> None:
    synthetic_bars(SyntheticConfig(bars=300)).rename_axis("date").to_csv("bars.csv")
    done = train_command(
        here, "--multirun", "hydra/sweeper=basic", "seed=1,2", "data=csv", "data.path=bars.csv", *SMALL
    )
    assert done.status == 0, done.err
    sweep = load_run("latest")
    belongs = f"tags.`mlflow.parentRunId` = '{sweep.run_id}'"
    one, other = MlflowClient().search_runs([sweep.record.experiment_id], belongs)
    assert {refit(each.info.run_id, data="bars.csv").rows for each in (one, other)} == {266}


def test_the_report_of_a_run_does_not_call_a_test_set_sealed_that_its_refit_learned_from(here: Path) -> None:
    run = trained()
    made = run.refit()
    record = training_record(run._store, run._run)
    assert [each.run_id for each in record.refits] == [made.run_id] and record.openings == ()
    texts = [block.text for block in blocks_of(Trained(record)) if isinstance(block, Notice | Paragraph)]
    first, last = (made.tags[f"opened.{end}"][:10] for end in ("start", "end"))
    assert texts[0].startswith(f"A refit of this run has learned from its test set, {first} to {last}, first on ")
    assert texts[1:] == ["Not evaluated for this run. Opening it is counted."]


def test_a_refit_is_no_other_configuration_and_latest_passes_over_it(
    ibm: LoadedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    tags, returns = ibm.tags, recorded_returns(ibm._store, ibm._run)
    asked = MarketDates(tags["data.instrument"], (tags["data.val_start"], tags["data.val_end"]), returns=returns)
    before = read_ledger(ibm._store, asked)
    made = ibm.refit("2007-06-29")
    assert load_run("latest").tags["run.kind"] == "training"
    capsys.readouterr()
    assert command(["history", "--json"]) == 0
    assert made.run_id not in capsys.readouterr().out
    assert read_ledger(ibm._store, asked) == before and ibm.tags["config.tried"] in before.before
    assert command(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == []


def test_the_command_asks_registers_and_its_model_forecasts_the_bars_to_come(
    ibm: LoadedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = trained("data=msft")
    assert command(["refit", asked.run_id]) == 1
    assert "never been opened in this store" in capsys.readouterr().err
    assert command(["refit", ibm.run_id, "--data", "today.csv", "--register", "live", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["registered"] == "models:/live/1" and told["epochs"] == ibm.metrics["best_epoch"]
    assert command(["predict", "models:/live@candidate", "--data", "today.csv", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["run_id"] == told["run_id"] and rows["rows"][-1]["date"][:10] == "2013-03-01"
    assert command(["evaluate", told["run_id"], "--yes"]) == 1
    assert f"It is a refit of the run {ibm.run_id}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"through": "soon"}, ConfigError, "--through must be a date such as 2010-12-31; got 'soon'"),
        ({"through": "2031-01-01"}, DataError, "end on 2012-10-03"),
        ({"through": "2000-03-10"}, DataError, "0 rows to train on up to --through=2000-03-10"),
        ({"data": "other.csv"}, DataError, "not the bars of the market"),
        ({"data": "nowhere.csv"}, DataError, "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_run(
    ibm: LoadedRun, given: dict[str, str], error: type[Exception], said: str
) -> None:
    client = MlflowClient()
    before = len(client.search_runs(["0", "1"]))
    with pytest.raises(error, match=said):
        refit(ibm.run_id, **given)
    assert len(client.search_runs(["0", "1"])) == before


def test_the_tags_are_of_all_rows_and_not_of_the_folds_of_the_search(here: Path) -> None:
    words = ("training.loss=bce", "data.target=direction", "training.pos_weight=balanced")
    run = trained(*SYNTHETIC, *words, "evaluation.scheme=walk_forward", "evaluation.folds=2")
    assert run.tags["model.fold"] == "2" and ", " in run.tags["pos_weight"]
    made = run.refit()
    up = prepare_data(run.config.data).target.mean()
    assert "model.fold" not in made.tags and made.tags["pos_weight"] == f"{(1 - up) / up:.6g}"


def test_reproduce_names_the_command_that_refits(ibm: LoadedRun, capsys: pytest.CaptureFixture[str]) -> None:
    made = ibm.refit("2007-06-29", data="today.csv")
    capsys.readouterr()
    assert command(["reproduce", made.run_id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    given = f"--through 2007-06-29 --data {Path('today.csv').absolute()}"
    assert told["command"] == f"python -m tradingbot_exp refit {ibm.run_id} {given}" and told["verify"] is None
    assert command(["reproduce", made.run_id]) == 0
    said = capsys.readouterr().out
    assert "a refit is not verified, a training run, a trial or a study is" in said and "--verify" not in said


def test_a_refit_is_in_the_experiment_of_its_run_whatever_that_is_called_now(here: Path) -> None:
    run = trained(*SYNTHETIC)
    MlflowClient().rename_experiment(run.record.experiment_id, "renamed")
    assert load_run(run.run_id).refit().record.experiment_id == run.record.experiment_id


def test_bundled_bars_take_no_file(here: Path) -> None:
    run = trained()
    with pytest.raises(RunError, match="which is not a file"):
        refit(run.run_id, data="bars.csv")


def test_each_network_of_an_ensemble_is_trained_for_as_long_as_it_was_best(here: Path) -> None:
    words = (*SYNTHETIC, "training.epochs=12", "training.early_stopping=2", "training.learning_rate=0.03")
    run = trained(*words, "training.ensemble=3")
    made = run.refit()
    steps = {
        f"seed_{seed}/": len(MlflowClient().get_metric_history(made.run_id, f"seed_{seed}/train_loss"))
        for seed in (42, 43, 44)
    }
    assert steps == {prefix: run.metrics[f"{prefix}best_epoch"] for prefix in steps} and len(set(steps.values())) > 1


@pytest.mark.parametrize("name", ["a/b", "live@x", "", " ", "x" * 300])
def test_a_name_that_cannot_be_addressed_is_refused_before_anything_is_opened(ibm: LoadedRun, name: str) -> None:
    before = len(MlflowClient().search_runs(["0", "1"]))
    with pytest.raises(ConfigError, match="--register must be letters"):
        refit(ibm.run_id, register=name)
    assert len(MlflowClient().search_runs(["0", "1"])) == before


@in_ci
def test_a_panel_is_refitted_by_date_and_forecasts_every_symbol(here: Path) -> None:
    words = ("data=synthetic", "data.synthetic.symbols=4", "data.scaling=symbol", "data.sequence_length=3")
    run = trained(*words, "evaluation.position=long_short")
    made = run.refit()
    frames = synthetic_panel(run.config.data.synthetic)
    bars = pd.concat([frame.reset_index().assign(symbol=name) for name, frame in frames.items()])
    found = made.predict(bars)
    assert set(found["symbol"]) == set(frames) and found["weight"].groupby(found["date"]).sum().abs().max() < 1e-12
