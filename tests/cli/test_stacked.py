"""A study under ``hydra/launcher=stacked``: the same trials, folders and runs as under the basic launcher, at once."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from mlflow.entities import Run
from support import Finished, artifact_folder, in_ci, start, train

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment.fitting import Fitting, fit_all
from tradingbot_exp.experiment.job import Job, build
from tradingbot_exp.experiment.stacks import stacks_of
from tradingbot_exp.hpo.storage import open_storage
from tradingbot_exp.training.state import Epoch

JOURNALS = ".tradingbot/unsent/*/records.jsonl"
STACKED = ["--multirun", "hydra/launcher=stacked", "data=synthetic", "training.progress=off"]


def children(done: Finished) -> list[Run]:
    found = [run for run in done.runs() if run.data.tags["run.kind"] == "trial"]
    return sorted(found, key=lambda run: run.info.run_name)


class Unrecorded:
    """What `fit_all` asks of a run, where nothing is recorded."""

    def __init__(self) -> None:
        self.delivery = self

    def training_started(self) -> None:
        pass

    def set_tags(self, tags: dict[str, object]) -> None:
        self.tags = tags


def job(*overrides: str) -> Job:
    return build(compose_config(["data=synthetic", "training.progress=off", *overrides]), Unrecorded())  # type: ignore[arg-type]


@in_ci
def test_a_stacked_study_gives_what_each_trial_gives_alone(workdir: Path) -> None:
    done = train(
        workdir,
        *STACKED,
        "hydra.launcher.width=12",
        *("hpo=guide", "hpo.sampler=grid", "hpo.num_trials=20", "training.epochs=4"),
        "+hpo.param_space.batch_size=[32,64]",
        "+hpo.param_space.learning_rate=[0.001,0.002,10.0]",
        "+hpo.param_space.momentum=[0.5]",
        "+hpo.param_space.optimizer=[SGD,Adam]",
        "+hpo.param_space.dropout=[0.0]",
    )
    assert done.status == 0, done.err
    assert "the grid is exhausted after its 12 points" in done.out
    runs = children(done)
    assert [run.info.run_name for run in runs] == [f"trial-{number:04d}" for number in range(12)]
    complete = [run for run in runs if run.info.status == "FINISHED"]
    failed = [run for run in runs if run.info.status == "FAILED"]
    assert len(complete) == 4 and len(failed) == 8
    errors = [run.data.tags["error"].partition(":")[0] for run in failed]
    assert sorted(errors) == ["ConfigError"] * 6 + ["DivergedError"] * 2
    assert all((artifact_folder(run) / "error" / "traceback.txt").is_file() for run in failed)
    places = set()
    for run in complete:
        tags, params = run.data.tags, run.data.params
        assert (tags["engine"], tags["stack.width"]) == ("stacked", "3")
        places.add((params["training.batch_size"], tags["stack.position"]))
        keys = [f"training.{name}" for name in ("learning_rate", "batch_size", "epochs", "optimizer", "momentum")]
        ((alone,),) = fit_all([Fitting(job(*(f"{key}={params[key]}" for key in keys)))])  # type: ignore[misc]
        points = done.client.get_metric_history(run.info.run_id, "val_loss")
        assert [point.step for point in points] == [1, 2, 3, 4]
        np.testing.assert_allclose([point.value for point in points], alone["val_loss"], rtol=1e-5)
        assert json.loads(tags["trial.values"]) == [run.data.metrics["final_loss"]]
    assert len(places) == 4
    best = min(complete, key=lambda run: run.data.metrics["final_loss"])
    kept = {run.info.run_id for run in runs if (artifact_folder(run) / "model").is_dir()}
    assert kept == {best.info.run_id}
    (study,) = (workdir / "multirun").iterdir()
    left = {path.name for path in study.iterdir() if not path.name.startswith(".")}
    assert left == {"train.log", *(run.info.run_name for run in runs)}
    assert (study / "trial-0000" / "validation_bars.npz").is_file()


@in_ci
@pytest.mark.parametrize(("kill", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_what_a_killed_stack_had_trained_is_in_mlflow_and_its_points_are_tried_again(
    workdir: Path, kill: signal.Signals, status: int
) -> None:
    command = [*STACKED, "hpo.num_trials=4", "training.epochs=3000", "training.batch_size=64"]
    process = start(workdir, *command)
    deadline = time.monotonic() + 120
    while len(list(workdir.glob(JOURNALS))) < 5 and time.monotonic() < deadline:  # the study's, and four trials'
        time.sleep(0.05)
    time.sleep(0.7)
    process.send_signal(kill)
    store = process.end(120)
    assert store.status == status, store.err
    seen: dict[str, int] = {}
    if kill == signal.SIGKILL:
        for journal in workdir.glob(JOURNALS):
            run_id = json.loads((journal.parent / "run.json").read_text())["run_id"]
            lines = [json.loads(line) for line in journal.read_text().splitlines()[:-1]]
            seen[run_id] = max((line["metrics"][-1][3] for line in lines if line.get("metrics")), default=0)
        assert len([last for last in seen.values() if last]) == 4
    else:
        assert not list(workdir.glob(JOURNALS))
    # The study need not end to have settled what was killed.
    again = start(workdir, *command)
    try:
        while time.monotonic() < deadline + 60:
            killed = [run for run in children(store) if run.info.status == "KILLED"]
            if len(killed) == 4 and len(children(store)) == 8:
                break
            time.sleep(0.3)
    finally:
        again.kill()
        again.wait()
    assert len(killed) == 4
    for run in killed:
        assert run.data.tags["trial.state"] == "interrupted"
        steps = [point.step for point in store.client.get_metric_history(run.info.run_id, "val_loss")]
        assert steps == list(range(1, len(steps) + 1)) and len(steps) >= seen.get(run.info.run_id, 1)
        assert run.data.params["training.batch_size"] == "64"
    storage, _ = open_storage(None, workdir)
    (name,) = optuna.get_all_study_names(storage)
    tried = [trial.params for trial in optuna.load_study(study_name=name, storage=storage).trials]
    assert tried[4:8] == tried[:4]


def test_only_what_cannot_be_stacked_is_told_and_not_what_is_left_over(caplog: pytest.LogCaptureFixture) -> None:
    quick = "training.epochs=1"
    pair = [job(quick, f"seed={seed}") for seed in (1, 2)]
    for others, text in (
        (["training.batch_size=64"], ""),
        (["training.optimizer=RMSprop"], "1 of 3 models trained one by one: training.optimizer=RMSprop is none of"),
        ([f"training.batch_size={size}" for size in (64, 128, 256)], "no other has its shape, batch size (256)"),
    ):
        caplog.clear()
        with caplog.at_level("INFO"):
            fit_all([Fitting(each) for each in [*pair, *(job(quick, word) for word in others)]])
        assert text in caplog.text and ("one by one" in caplog.text) == bool(text)


def test_jobs_are_grouped_by_what_a_stack_shares_and_the_others_say_why() -> None:
    jobs = [
        job("seed=1"),
        job("training.batch_size=64"),
        job("model.learning_rate=0.1", "training.weight_decay=0.1", "training.epochs=3"),
        job("model=lstm", "model.hidden_layers=[512]"),
        job("training.optimizer=RMSprop"),
        job("training.precision=bf16-mixed"),
        job("model.hidden_layers=[8]"),
    ]
    stacks, alone = stacks_of(jobs)
    assert stacks == [[0, 2]]
    assert alone == {
        1: "no other has its shape, batch size (64) and kind of training",
        3: "model=lstm: with batches of 32 rows, training several models at once would be no faster",
        4: "training.optimizer=RMSprop is none of Adam, AdamW, SGD",
        5: "training.precision=bf16-mixed is not stacked",
        6: "no other has its shape, batch size (32) and kind of training",
    }


def test_folds_of_several_jobs_are_trained_at_once_and_each_is_what_it_is_alone() -> None:
    words = ["evaluation.scheme=walk_forward", "evaluation.folds=3", "training.precision=float64", "training.epochs=3"]
    own = (["model.dropout=0.1"], ["model.dropout=0.2", "model.learning_rate=0.003"], ["model.dropout=0.3"])
    # One diverges, and one is over after its second fold.
    others = ["training.optimizer=SGD", "model.learning_rate=10"]
    jobs = [job(*words, *each, f"seed={seed}") for seed, each in enumerate(own)]
    told: list[int] = []

    class Counting:
        def on_epoch(self, epoch: Epoch) -> None:
            if epoch.position == 2:
                told.append(epoch.fold)

    fittings = [Fitting(jobs[0]), Fitting(jobs[1]), Fitting(jobs[2], [Counting()], is_over=lambda: told[-1:] == [2])]
    found = fit_all(fittings)
    assert [len(histories) for histories in found] == [3, 3, 2]  # type: ignore[arg-type]
    assert told == [1] * 3 + [2] * 3
    assert jobs[0].run.tags["stack.width"] == 3  # type: ignore[attr-defined]
    for seed, (each, histories) in enumerate(zip(own, found, strict=True)):
        (alone,) = fit_all([Fitting(job(*words, *each, f"seed={seed}"))])
        for one, other in zip(histories, alone, strict=False):  # type: ignore[arg-type]
            np.testing.assert_allclose(one["val_loss"], other["val_loss"], rtol=1e-12)
    ended = fit_all([Fitting(job(*words, *others)), Fitting(job(*words, *others[:1]))])
    assert isinstance(ended[0], DivergedError) and " of 3: Training diverged: " in str(ended[0])
    assert len(ended[1]) == 3  # type: ignore[arg-type]
