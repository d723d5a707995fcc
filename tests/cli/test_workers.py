"""Studies with several workers: exact totals whoever dies, and nobody left behind."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run
from support import Command, Finished, in_ci, start, train

STUDY = [
    "--multirun",
    "data=synthetic",
    "training.progress=off",
    "tracking.report=false",
    "hpo.reseeds=0",
    "hpo.workers=2",
]
LONG = [*STUDY, "hpo.num_trials=16", "training.epochs=400"]


def trials_of(done: Finished) -> list[Run]:
    return [run for run in done.runs() if run.data.tags["run.kind"] == "trial"]


def workers_of(process: Command) -> list[psutil.Process]:
    """Wait until both workers are there, and have begun a trial each."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.err
        found = []
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.NoSuchProcess):  # git's come and go
                found += child.children()
        if len(found) == 2 and len(list(process.cwd.glob("multirun/*/trial-*"))) >= 2:
            time.sleep(0.5)
            return found
        time.sleep(0.05)
    raise AssertionError("no workers")


def test_workers_share_a_study_and_each_trial_is_made_once(workdir: Path) -> None:
    done = train(workdir, *STUDY, "hpo.num_trials=9", "training=smoke")
    assert done.status == 0, done.err
    trials = trials_of(done)
    assert sorted(run.data.tags["trial.number"] for run in trials) == sorted(map(str, range(9)))
    assert {run.info.status for run in done.runs()} == {"FINISHED"}
    (study,) = [run for run in done.runs() if run.data.tags["run.kind"] == "study"]
    pids = {run.data.tags["process.pid"] for run in trials}
    assert len(pids) == 2 and study.data.tags["process.pid"] not in pids
    assert done.out.count("Is the winner real?") == 1
    assert not any(psutil.pid_exists(int(pid)) for pid in pids)


def test_a_study_that_starts_afresh_is_one_study(workdir: Path) -> None:
    words = [*STUDY, "hpo.num_trials=4", "training=smoke"]
    for number in (1, 2):
        done = train(workdir, *words, "hpo.resume=false")
        assert done.status == 0, done.err
        studies = [run for run in done.runs() if run.data.tags["run.kind"] == "study"]
        assert (len(studies), len(trials_of(done))) == (number, 4 * number)
        assert {run.info.status for run in done.runs()} == {"FINISHED"}


@in_ci
def test_workers_end_where_nobody_can_hear_of_them_and_the_command_does_the_rest(workdir: Path) -> None:
    process = start(workdir, *LONG)
    workers = workers_of(process)
    workers[0].parent().kill()
    done = process.end(240)
    assert done.status == 0, done.err
    assert "The process that starts the workers is gone: they end, and the rest is done here." in done.out
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert [run.data.tags["trial.state"] for run in trials_of(done)].count("complete") == 16
    assert "RUNNING" not in {run.info.status for run in done.runs()}


@in_ci
def test_a_killed_worker_costs_its_batch_and_is_started_again(workdir: Path) -> None:
    process = start(workdir, *LONG)
    workers_of(process)[0].kill()
    done = process.end(240)
    assert done.status == 0, done.err
    assert "A worker died (SIGKILL); it is started again, its trials are tried again." in done.out
    states = [run.data.tags["trial.state"] for run in trials_of(done)]
    assert states.count("complete") == 16 and 1 <= states.count("interrupted") <= 8
    assert "RUNNING" not in {run.info.status for run in done.runs()}


@in_ci
def test_workers_that_are_not_started_again_leave_the_rest_to_the_command(workdir: Path) -> None:
    process = start(workdir, *LONG, "hpo.max_restarts=0")
    for worker in workers_of(process):
        worker.kill()
    done = process.end(240)
    assert done.status == 0, done.err
    assert done.out.count("is not started again: hpo.max_restarts=0") == 2
    assert [run.data.tags["trial.state"] for run in trials_of(done)].count("complete") == 16


@in_ci
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_command(workdir: Path, kill: signal.Signals) -> None:
    process = start(workdir, *LONG)
    workers = workers_of(process)
    process.send_signal(kill)
    done = process.end(120)
    assert done.status == (-9 if kill == signal.SIGKILL else 128 + kill), done.err
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive and len(gone) == 2
    open_runs = {run.data.tags["run.kind"] for run in done.runs() if run.info.status == "RUNNING"}
    assert open_runs == ({"study"} if kill == signal.SIGKILL else set())
    states = {run.data.tags.get("trial.state") for run in trials_of(done)}
    assert states <= {"interrupted", "complete"}


def test_where_workers_cannot_be_started_is_said(workdir: Path) -> None:
    done = train(workdir, *STUDY, "hydra/launcher=basic")
    assert done.status == 1
    assert "hpo.workers=2 are processes of hydra/launcher=stacked on this machine" in done.err
    assert not list((workdir / "multirun").glob("*/trial-*"))
