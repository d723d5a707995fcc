"""The curves of several folds: each under its own name, their mean while the last one trains, and a fold that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment.fitting import fit_all, fit_folds
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.recording import identifying_tags, report_undefined
from tradingbot_exp.experiment.results import evaluate
from tradingbot_exp.experiment.steps import fit
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
from tradingbot_exp.training.history import History, mean_history
from tradingbot_exp.training.listeners import Curves, Hook

WALK = ("data=synthetic", "training.progress=off", "evaluation.scheme=walk_forward", "evaluation.folds=3")


class Kept:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.points: list[tuple[str, int, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.points += [(name, step, value) for name, value in metrics.items()]

    def curve(self, name: str) -> dict[int, float]:
        return {step: value for found, step, value in self.points if found == name}


def history(*losses: float) -> History:
    made = History(5)
    for loss in losses:
        made.add({"train_loss": 10 * loss, "val_loss": loss, "learning_rate": 0.1})
    return made


def test_the_mean_of_histories_ends_with_the_one_that_stopped_first() -> None:
    folds = [history(1.0, 2.0, 3.0), history(5.0, 6.0)]
    mean = mean_history([*folds, history(9.0, 10.0, 11.0)])
    assert mean["val_loss"] == [5.0, 6.0] and mean["train_loss"] == [50.0, 60.0] and mean.epochs == 5
    assert mean_history(folds[:1]) is folds[0]


@pytest.fixture
def config(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(workdir)
    return compose_config([*WALK, "training.epochs=2"])


def test_balanced_weights_are_each_folds_own_and_told_in_a_tag(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    words = ("data.target=direction", "training.loss=bce", "training.pos_weight=balanced", "training.epochs=2")
    config = compose_config([*WALK, *words])
    with ExperimentOrganizer(config).start_run() as run:
        folds = build(config, run).folds
        tag = identifying_tags(config, folds[-1].data)["pos_weight"]
        balanced = fit_folds(build(config, run))
        weights = [float((1 - y).sum() / y.sum()) for y in (fold.data.targets(fold.data.train) for fold in folds)]
        assert len(set(weights)) == 3 and tag == ", ".join(f"{weight:.6g}" for weight in weights)
        for number, weight in enumerate(weights):
            told = replace(config, training=replace(config.training, pos_weight=weight))
            assert dict(fit_folds(build(told, run))[number]) == dict(balanced[number])
    assert identifying_tags(compose_config([*WALK]), folds[-1].data)["pos_weight"] is None


def test_folds_start_from_the_same_weights_and_the_first_is_the_plain_split_cut_short(config: Config) -> None:
    plain = replace(config, evaluation=replace(config.evaluation, scheme="chronological"))
    with ExperimentOrganizer(config).start_run() as run:
        job, alone = build(config, run), build(plain, run)
        kept = Kept()
        weights = [[p.detach().clone() for p in fold.model.parameters()] for fold in job.folds]
        assert all((a == b).all() for each in weights[1:] for a, b in zip(weights[0], each, strict=True))
        histories, (expected,) = fit_folds(job, [Curves(kept, folds=3)]), fit_folds(alone)
    assert len(job.folds) == len(histories) == 3 and job.folds[-1] is job and not alone.earlier
    # Same train rows, same seed: the same model, validated on the first third of the rows.
    assert histories[0]["train_loss"] == expected["train_loss"]
    assert histories[0]["val_loss"] != expected["val_loss"]
    mean = np.mean([each["val_loss"] for each in histories], axis=0)
    assert list(kept.curve("val_loss").values()) == pytest.approx(mean)
    first, whole = evaluate(job, histories), evaluate(alone, [expected])
    assert first.rows == whole.rows == alone.data.val and "fold" not in whole.columns
    np.testing.assert_array_equal(first.actual, whole.actual)
    third = len(job.folds[0].data.val)
    np.testing.assert_allclose(first.forecast[:third], whole.forecast[:third], rtol=1e-5, atol=1e-9)


def test_blocks_of_one_bar_leave_what_takes_two_undefined_and_name_the_fold(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    config.data.synthetic.bars = 200
    config.evaluation.folds = 24  # as many as validation rows
    config.training.epochs = 1
    with ExperimentOrganizer(config).start_run() as run:
        job = build(config, run)
        evaluated = evaluate(job, fit_folds(job))
        report_undefined(run, evaluated.undefined)
    assert {len(fold.data.val) for fold in job.folds} == {1}
    reason = "not defined, because in fold 1 it takes at least 2 bars"
    assert evaluated.undefined["val_ic"] == reason
    assert evaluated.undefined["fold_24_val_ic"] == "not defined, because it takes at least 2 bars"
    assert "val_ic" not in evaluated.metrics
    said = [record.getMessage() for record in caplog.records if record.name == "tradingbot_exp.experiment.recording"]
    assert len(said) == len(set(evaluated.undefined.values()))  # one line a reason
    assert any(line.startswith("val_ic, val_rank_ic") and line.endswith("are " + reason + ".") for line in said)
    # All blocks together have bars enough.
    assert np.isfinite(evaluated.metrics["val_sharpe"]) and np.isfinite(evaluated.metrics["val_mse"])


def test_of_a_studys_trials_the_first_says_why_a_metric_is_undefined_and_the_runs_of_all(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    organizer, why = ExperimentOrganizer(config), "not defined, because the forecast is constant"
    undefined = [{"val_ic": why}, {"val_ic": why, "val_rank_ic": why}, {"val_ic": why}]
    ids = []
    for number, each in enumerate(undefined):
        with organizer.start_run(f"trial-{number:04d}") as run:
            report_undefined(run, each, study="a study")
            ids.append(run.run_id)
    said = [record.getMessage() for record in caplog.records if record.name == "tradingbot_exp.experiment.recording"]
    assert [line.partition(" is ")[0] for line in said] == ["trial-0000: val_ic", "trial-0001: val_rank_ic"]
    client, _ = organizer.connect()
    assert all(client.get_run(run_id).data.tags["undefined.val_ic"] == why for run_id in ids)


def test_folds_that_stop_after_different_epochs_have_a_mean_where_all_of_them_have_a_value(config: Config) -> None:
    config.training.epochs = 3
    stops, kept = iter([3, 1, 2]), Kept()  # the next fold is begun, and asked, all the same
    stop = [0]

    def stop_each_fold_at_its_own_epoch(epoch: int, record: dict[str, float]) -> bool:
        stop[0] = next(stops) if epoch == 1 else stop[0]
        return epoch == stop[0]

    with ExperimentOrganizer(config).start_run() as run:
        job = build(config, run)
        histories = fit_folds(job, [Curves(kept, folds=3), Hook(stop_each_fold_at_its_own_epoch)])
        evaluated = evaluate(job, histories)
    assert [each.epochs_run for each in histories] == [3, 1, 2]
    assert [len(kept.curve(f"fold_{number}_val_loss")) for number in (1, 2, 3)] == [3, 1, 2]
    assert kept.curve("val_loss") == {1: pytest.approx(np.mean([each["val_loss"][0] for each in histories]))}
    finals = [each["val_loss"][-1] for each in histories]
    assert evaluated.metrics["final_loss"] == pytest.approx(np.mean(finals))
    assert evaluated.metrics["fold_2_final_loss"] == finals[1]
    assert len(evaluated.rows) == sum(len(fold.data.val) for fold in job.folds)


def test_a_job_that_is_over_begins_no_further_fold_and_a_fold_that_diverges_is_named(config: Config) -> None:
    with ExperimentOrganizer(config).start_run() as run:
        kept = Kept()
        over = fit_folds(build(config, run), [Curves(kept)], lambda: len(kept.curve("val_loss")) > 0)
        assert [each.epochs_run for each in over] == [2]
        job = build(config, run)
        for weight in job.folds[1].model.parameters():
            weight.data.fill_(float("inf"))
        with pytest.raises(DivergedError, match=r"In fold 2 of 3: Training diverged") as caught:
            fit_folds(job)
    assert caught.value.epoch == 1 and caught.value.history.epochs_run == 1


def test_no_job_is_trained_of_none() -> None:
    assert fit_all([]) == fit([]) == []
