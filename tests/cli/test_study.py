"""A study by the command line: killed, resumed, pruned, failing, refused, repeated; Optuna and MLflow agree on it."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
from mlflow.entities import Run
from support import Command, Finished, artifact_folder, in_ci, start, train

from tradingbot_exp.hpo.storage import open_storage

STUDY = ["--multirun", "data=synthetic", "training.progress=off"]
BASIC, STACKED = ["hydra/launcher=basic"], ["hydra/launcher=stacked", "hpo.n_jobs=5"]
# When a study is killed: once it works on a trial, at any moment, and once all its trials have ended.
KILLS = ("trial", "any", "end")
TRIALS = 24


def study_of(folder: Path) -> optuna.Study:
    storage, _ = open_storage(None, folder)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def family(done: Finished) -> tuple[Run, list[Run]]:
    """The only parent, and its children by name."""
    runs = done.runs()
    (parent,) = [run for run in runs if run.data.tags["run.kind"] == "study"]
    children = [run for run in runs if run.data.tags["run.kind"] == "trial"]
    assert all(child.data.tags["mlflow.parentRunId"] == parent.info.run_id for child in children)
    return parent, sorted(children, key=lambda child: child.info.run_name)


def agree(done: Finished, epochs: int) -> collections.Counter[str]:
    """See that Optuna and MLflow tell the same story, and count MLflow's by state."""
    _, children = family(done)
    trials = {trial.number: trial for trial in study_of(done.cwd).trials}
    states: collections.Counter[str] = collections.Counter()
    for child in children:
        trial = trials[int(child.data.tags["trial.number"])]
        state = child.data.tags["trial.state"]
        states[state] += 1
        steps = [point.step for point in done.client.get_metric_history(child.info.run_id, "val_loss")]
        if state == "complete":
            assert child.info.status == "FINISHED" and trial.state.name == "COMPLETE"
            assert json.loads(child.data.tags["trial.values"]) == trial.values
            assert steps == list(range(1, epochs + 1))
        elif state == "pruned":
            assert child.info.status == "FINISHED" and trial.state.name == "PRUNED"
            assert steps == list(range(1, len(steps) + 1)) and 0 < len(steps) < epochs
        elif state == "failed":
            assert child.info.status == "FAILED" and trial.state.name == "FAIL"
            assert not trial.user_attrs.get("interrupted") and child.data.tags["error"]
        else:
            assert (state, child.info.status) == ("interrupted", "KILLED")
            assert trial.state.name == "FAIL" and trial.user_attrs["interrupted"]
    counted = [trial for trial in trials.values() if not trial.user_attrs.get("interrupted")]
    assert sum(trial.state.is_finished() for trial in counted) == states.total() - states["interrupted"]
    return states


def outliving(folder: Path) -> list[psutil.Process]:
    """The workers of commands that were started in a folder and are gone."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder) and process.pid != os.getpid():
                found.append(process)
    return found


def kill_at_some_moment(folder: Path, command: list[str], chance: random.Random, moment: str) -> None:
    """Start the study and kill it: at any moment now and then while it starts, else after it went to work on a trial.

    Half the time, and the first time, its workers are killed with it; else they outlive it.
    """

    def asked() -> int:
        return sum(path.read_bytes().count(b'"op_code":4,') for path in folder.glob("optuna.journal"))

    before = asked()

    def is_at_work() -> bool:
        return asked() > before

    def is_over() -> bool:
        return sum(trial.state.name == "COMPLETE" for trial in study_of(folder).trials) == TRIALS

    process = Command(folder, "-m", "tradingbot_exp.train", *command, own_group=True)
    if moment == "any" and chance.random() < 0.2:
        time.sleep(chance.uniform(0.2, 2.0))
    else:
        arrived, deadline = is_over if moment == "end" else is_at_work, time.monotonic() + 240
        while not arrived():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.9 if moment == "end" else 1.2))
    assert process.poll() is None, "the study was over before it was killed"
    if moment == "trial" or chance.random() < 0.5:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


@in_ci
@pytest.mark.parametrize("launcher", ["basic", "joblib", "stacked"])
def test_a_study_killed_again_and_again_ends_with_exactly_its_trials(tmp_path: Path, launcher: str) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"random seed: {seed}")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    epochs = 400 if launcher == "stacked" else 40  # or a stack would be over before it is killed
    command = [*STUDY, f"hpo.num_trials={TRIALS}", f"training.epochs={epochs}", "hpo.reseeds=2"]
    if launcher == "joblib":
        command += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hpo.n_jobs=2"]
    elif launcher == "stacked":
        command += ["hydra/launcher=stacked", "hpo.n_jobs=4"]
    else:
        command += BASIC
    written: dict[Path, int] = {}
    for moment in KILLS:
        kill_at_some_moment(tmp_path, command, chance, moment)
        for path in tmp_path.glob("multirun/*/trial-*/validation_bars.npz"):
            written.setdefault(path, path.stat().st_mtime_ns)
    done = train(tmp_path, *command)
    assert done.status == 0, done.err
    parent, children = family(done)
    assert parent.info.status == "FINISHED"
    assert not [run for run in done.runs() if run.info.status in ("RUNNING", "SCHEDULED")]
    states = agree(done, epochs)
    assert states["complete"] == TRIALS
    assert states["interrupted"] > 0, "no kill ever hit a trial"
    history = done.client.get_metric_history(parent.info.run_id, "best_value")
    assert sorted(point.step for point in history) == list(range(1, TRIALS + 1))
    assert parent.data.tags["best.artifacts"] == "kept" and parent.data.tags["study.trials"] == str(TRIALS)
    verdict = json.loads((artifact_folder(parent) / "study" / "verdict.json").read_text())
    assert verdict["word"] == parent.data.tags["verdict"] and len(verdict["seeds"]["values"]) == 2
    workers = outliving(tmp_path)  # they hold what they write, and the next start sends it
    left = list(tmp_path.glob(".tradingbot/unsent/*/records.jsonl"))
    assert not left or workers, "the study left records that no other process holds"
    for worker in workers if left else ():
        worker.kill()
        worker.wait()
    assert not left or train(tmp_path, *command).status == 0
    assert not list(tmp_path.glob(".tradingbot/unsent/*/records.jsonl"))
    assert agree(done, epochs) == states
    names = [child.info.run_name for child in children]
    assert len(set(names)) == len(names)
    for path, stamp in written.items():
        assert path.stat().st_mtime_ns == stamp
    folders = {path.name for path in tmp_path.glob("multirun/*/trial-*")}
    assert folders <= set(names) | {f"trial-{trial.number:04d}" for trial in study_of(tmp_path).trials}


def test_a_study_goes_on_where_it_was_and_a_complete_one_says_so(workdir: Path) -> None:
    quick = [*STUDY, "training.epochs=3", "hpo.reseeds=0", "tracking.report=false"]
    first = train(workdir, *quick, "hpo.num_trials=2")
    assert first.status == 0, first.err
    parent, _ = family(first)
    second = train(workdir, *quick, "hpo.num_trials=4", "hpo.n_jobs=2")
    assert second.status == 0, second.err
    again, children = family(second)
    assert again.info.run_id == parent.info.run_id and again.info.status == "FINISHED"
    assert [child.info.run_name for child in children] == [f"trial-{number:04d}" for number in range(4)]
    assert len({tuple(sorted(trial.params.items())) for trial in study_of(workdir).trials}) == 4
    third = train(workdir, *quick, "hpo.num_trials=4")
    assert third.status == 0
    assert "is complete, 4 of 4; raise hpo.num_trials or set hpo.resume=false" in third.out
    assert len(family(third)[1]) == 4


@in_ci
def test_a_changed_study_is_another_one_and_refused_under_the_same_name(workdir: Path) -> None:
    quick = [*STUDY, "hpo.num_trials=1", "hpo.reseeds=0", "tracking.report=false", "hpo.study_name=mine"]
    assert train(workdir, *quick, "training.epochs=2").status == 0
    other = train(workdir, *quick, "training.epochs=3", "seed=1")
    assert other.status == 1
    for text in ("The study mine is there already", "training.epochs: 2 before, 3 now", "seed: 42 before, 1 now"):
        assert text in other.err
    assert "hpo.study_name=NAME" in other.err
    fresh = train(workdir, *quick, "training.epochs=3", "hpo.resume=false")
    assert fresh.status == 0, fresh.err
    assert "Study mine-2 " in fresh.out


@pytest.mark.parametrize("launcher", [pytest.param(BASIC, marks=in_ci), []], ids=["basic", "default"])
def test_the_parent_carries_what_the_study_found(workdir: Path, launcher: list[str]) -> None:
    done = train(workdir, *STUDY, "hpo.num_trials=3", "training.epochs=3", *launcher)
    assert done.status == 0, done.err
    parent, children = family(done)
    tags = parent.data.tags
    assert tags["study.at_once"] == ("1" if launcher else "3")
    best = min(children, key=lambda child: child.data.metrics["final_loss"])
    assert tags["best.run_id"] == best.info.run_id
    assert parent.data.metrics["best_value"] == best.data.metrics["final_loss"]
    params = json.loads(tags["best.params"])
    assert params["model.learning_rate"] == params["training.learning_rate"]
    assert best.data.params["training.batch_size"] == str(params["training.batch_size"])
    folder = artifact_folder(parent)
    space = json.loads((folder / "study" / "search_space.json").read_text())
    assert space["training.batch_size"] == {"choices": [16, 32, 64]}
    assert len(pd.read_csv(folder / "study" / "trials.csv")) == 3
    returns = pd.read_parquet(folder / "evaluation" / "trial_returns.parquet")
    assert list(returns.columns) == ["0", "1", "2"] and len(returns) > 100
    forecasts = pd.read_parquet(folder / "evaluation" / "trial_forecasts.parquet")
    assert forecasts.index.equals(returns.index) and list(forecasts.columns) == ["0", "1", "2"]
    kept_of_best = pd.read_csv(artifact_folder(best) / "evaluation" / "validation_returns.csv")
    column = forecasts[best.data.tags["trial.number"]].to_numpy()
    assert column == pytest.approx(kept_of_best["forecast"].to_numpy(), rel=1e-6)
    verdict = json.loads((folder / "study" / "verdict.json").read_text())
    assert verdict["word"] == tags["verdict"] and verdict["headline"] == tags["verdict.headline"]
    assert verdict["winner_run_id"] == best.info.run_id and verdict["family"] == "forecast"
    assert verdict["count"] == verdict["tried"] == verdict["ever"] == 3 and verdict["bars"] == len(returns)
    metrics = parent.data.metrics
    assert metrics["verdict_spa_p"] == pytest.approx(verdict["numbers"]["spa_p"]["value"])
    assert metrics["verdict_dsr"] == pytest.approx(verdict["numbers"]["dsr"]["value"])
    assert "verdict_pbo" not in metrics and "too few" in verdict["numbers"]["pbo"]["problem"]
    seeds = verdict["seeds"]
    assert len(set(seeds["values"])) == 5 and metrics["winner_seed_mean"] == pytest.approx(seeds["mean"])
    said = " ".join(done.out.split())
    assert verdict["headline"] in said and "Trained again with 5 other seeds, the winner has a val_loss of" in said
    assert said.index(verdict["headline"]) < said.index("the winner by itself:")
    (report,) = (done.cwd / "reports").glob("hpo-*.html")
    assert "Is the winner real?" in report.read_text() and "sealed" in report.read_text()
    for name in ("environment/environment.json", "data/data_card.json", "config/config.yaml"):
        assert (folder / name).is_file()
    history = [point.value for point in done.client.get_metric_history(parent.info.run_id, "best_value")]
    assert len(history) == 3 and history == sorted(history, reverse=True)
    for child in children:
        kept = {path.name for path in artifact_folder(child).rglob("*")} if artifact_folder(child).is_dir() else set()
        assert ("MLmodel" in kept) == (child.info.run_id == best.info.run_id)
        assert not kept or {"training_history.html", "validation_returns.csv"} <= kept
    command = next(line for line in done.out.splitlines() if "python -m tradingbot_exp.train" in line)
    again = train(workdir, *command.split()[3:])
    assert again.status == 0, again.err
    (single,) = [run for run in again.runs() if run.data.tags["run.kind"] == "training"]
    assert single.data.metrics["final_loss"] == best.data.metrics["final_loss"]  # also if it was one of a stack
    assert single.data.tags["config.sha256"] == best.data.tags["config.sha256"]


@in_ci
def test_failing_trials_are_failed_children_and_too_many_of_them_end_the_study(workdir: Path) -> None:
    space = ["training.optimizer=SGD", "hpo=guide", "hpo.sampler=grid", "training.epochs=15", *BASIC]
    space += ["+hpo.param_space.learning_rate=choice(0.001,0.002,10.0)", "hpo.reseeds=0", "tracking.report=false"]
    done = train(workdir, *STUDY, *space)
    assert done.status == 0, done.err
    states = agree(done, epochs=15)
    assert states == {"complete": 2, "failed": 1}
    _, children = family(done)
    (failed,) = [child for child in children if child.info.status == "FAILED"]
    assert failed.data.tags["error"].startswith("DivergedError")
    assert (artifact_folder(failed) / "error" / "traceback.txt").is_file()
    assert "the grid is exhausted after its 3 points" in done.out
    strict = train(workdir, *STUDY, *space, "hpo.max_failure_rate=0")
    assert strict.status == 1
    assert "gave up: 1 of" in strict.err and "hpo.max_failure_rate=0" in strict.err
    latest = [run for run in strict.runs() if run.data.tags["run.kind"] == "study"][-1]
    assert latest.info.status == "FAILED" and "max_failure_rate" in latest.data.tags["study.stopped_early"]


@in_ci
def test_a_terminated_study_is_killed_and_can_be_resumed(workdir: Path) -> None:
    # All three are asked for at once, so that the first has ended when the signal comes, and nobody was told.
    command = [*STUDY, *BASIC, "hpo.num_trials=3", "training.epochs=200", "hpo.n_jobs=3", "hpo.reseeds=0"]
    process = start(workdir, *command)
    started = Finished(workdir, "", "", 0)
    deadline = time.monotonic() + 60
    while "FINISHED" not in {run.info.status for run in started.runs()} and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    done = process.end(60)
    assert done.status == 143, done.err
    parent, children = family(done)
    assert parent.info.status == "KILLED"
    assert {child.info.status for child in children} == {"FINISHED", "KILLED"}
    assert agree(done, epochs=200)["complete"] >= 1
    resumed = train(workdir, *command)
    assert resumed.status == 0, resumed.err
    parent, _ = family(resumed)
    assert parent.info.status == "FINISHED"
    assert agree(resumed, epochs=200)["complete"] == 3


@in_ci
def test_pruning_spends_fewer_epochs_and_finds_a_value_as_good(workdir: Path) -> None:
    found, epochs = {}, {}
    for pruner in ("none", "median"):
        folder = workdir / pruner
        folder.mkdir()
        (folder / "mlflow.db").write_bytes((workdir / "mlflow.db").read_bytes())
        done = train(
            folder,
            *("--multirun", "training.progress=off", "hpo.num_trials=20", "training.epochs=30", "hpo.reseeds=0"),
            *(f"hpo.pruner={pruner}", "tracking.report=false", *STACKED),
        )
        assert done.status == 0, done.err
        states = agree(done, epochs=30)
        assert (states["pruned"] > 0) == (pruner == "median")
        parent, children = family(done)
        found[pruner] = parent.data.metrics["best_value"]
        epochs[pruner] = sum(len(done.client.get_metric_history(child.info.run_id, "val_loss")) for child in children)
    assert epochs["median"] < 0.8 * epochs["none"]
    assert found["median"] <= 1.05 * found["none"]


@in_ci
@pytest.mark.parametrize("launcher", [BASIC, STACKED], ids=["basic", "stacked"])
def test_lists_repeats_and_several_objectives(workdir: Path, launcher: list[str]) -> None:
    done = train(
        workdir,
        *STUDY,
        *("hpo.num_trials=3", "training.epochs=2", "hpo.repeats=2", "hpo.sampler=nsgaii", "tracking.report=false"),
        *("hpo.metric=[val_loss,val_sharpe]", "hpo.direction=[minimize,maximize]"),
        *("model.hidden_layers=[8],[4,4]", *launcher),
    )
    assert done.status == 0, done.err
    _, children = family(done)
    assert {child.data.params["model.hidden_layers"] for child in children} <= {"[8]", "[4, 4]"}
    for child in children:
        names = child.data.metrics
        assert names["val_loss"] == pytest.approx((names["seed_42/val_loss"] + names["seed_43/val_loss"]) / 2)
        assert len(json.loads(child.data.tags["trial.values"])) == 2
    assert all(len(trial.values) == 2 for trial in study_of(workdir).trials)


@in_ci
@pytest.mark.parametrize("launcher", [BASIC, STACKED], ids=["basic", "stacked"])
def test_a_known_point_takes_its_value_without_training(workdir: Path, launcher: list[str]) -> None:
    done = train(
        workdir,
        *STUDY,
        *("hpo=guide", "hpo.num_trials=4", "hpo.sampler=random", "training.epochs=2", "tracking.report=false"),
        *("+hpo.param_space.batch_size=[16,32]", "hpo.reseeds=0", *launcher),
    )
    assert done.status == 0, done.err
    assert agree(done, epochs=2)["complete"] == 4
    _, children = family(done)
    copies = [child for child in children if "trial.duplicate_of" in child.data.tags]
    assert len(copies) >= 2
    for copy in copies:
        (source,) = [c for c in children if c.data.tags["trial.number"] == copy.data.tags["trial.duplicate_of"]]
        assert copy.data.metrics == source.data.metrics


@in_ci
def test_what_another_study_of_the_same_name_left_is_not_touched(workdir: Path) -> None:
    command = [*STUDY, "hpo.num_trials=1", "training.epochs=2", "hpo.reseeds=0", "tracking.report=false"]
    assert train(workdir, *command).status == 0
    (left,) = workdir.glob("multirun/*/trial-0000/validation_bars.npz")
    stamp = left.stat().st_mtime_ns
    (workdir / "optuna.journal").unlink()
    again = train(workdir, *command)
    assert again.status == 0, again.err
    assert left.stat().st_mtime_ns == stamp
    assert len(list(workdir.glob("multirun/*/trial-0000"))) == 2


@in_ci
def test_a_trial_that_cannot_even_start_is_a_failed_child_with_its_error(workdir: Path) -> None:
    # Adam takes no momentum, which a trial alone knows.
    space = ["hpo=guide", "hpo.sampler=grid", "+hpo.param_space.momentum=[0.5]"]
    space += ["+hpo.param_space.optimizer=choice(SGD,Adam)"]
    for launcher in (BASIC, ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hpo.n_jobs=2", "seed=1")):
        done = train(workdir, *STUDY, "training.epochs=2", "tracking.report=false", *space, *launcher)
        assert done.status == 0, done.err
        latest = [run for run in done.runs() if run.data.tags["run.kind"] == "study"][-1]
        children = [run for run in done.runs() if run.data.tags.get("mlflow.parentRunId") == latest.info.run_id]
        (failed,) = [child for child in children if child.info.status == "FAILED"]
        (complete,) = [child for child in children if child.info.status == "FINISHED"]
        assert complete.data.params["training.optimizer"] == "SGD"
        assert "training.momentum=0.5" in failed.data.tags["error"] and "Adam takes none" in failed.data.tags["error"]
        assert failed.data.tags["trial.state"] == "failed"
        assert (artifact_folder(failed) / "error" / "traceback.txt").is_file()
