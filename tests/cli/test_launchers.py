"""Parent and children under each launcher of Hydra: joblib, Ray, and submitit on this machine."""

from __future__ import annotations

import importlib.util
import json
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run
from support import Finished, give_up, in_ci, start, train

EPOCHS = 3


@dataclass(frozen=True)
class Launcher:
    """A launcher: what the command line and the environment say for it, and which processes are its own."""

    overrides: list[str]
    environment: dict[str, str]
    processes: Callable[[], list[str]]


@pytest.fixture
def launcher(request: pytest.FixtureRequest, workdir: Path) -> Iterator[Launcher]:
    """Set a launcher up for two jobs at a time; whatever of it outlives its command fails the test."""
    name = request.param
    plugin = f"hydra_{name.removesuffix('_local')}_launcher"
    if importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        give_up(f"{plugin.replace('_', '-')} is not installed (make launchers)")
    overrides, environment, mark = [f"hydra/launcher={name}"], {}, str(workdir)
    scratch = None
    if name == "joblib":
        overrides.append("hydra.launcher.n_jobs=2")
    elif name == "ray":
        # Ray names its sockets after this folder, and a socket's path holds 107 bytes.
        mark = scratch = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        small = {"num_cpus": 2, "include_dashboard": "false", "object_store_memory": 100_000_000, "_temp_dir": scratch}
        overrides += [f"+hydra.launcher.ray.init.{key}={value}" for key, value in small.items()]
        environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    yield Launcher(overrides, environment, lambda: processes_about(mark, workdir))
    left = wait_until_gone(lambda: processes_about(mark, workdir))
    for process in psutil.process_iter():
        if process.pid in [int(line.split()[0]) for line in left]:
            process.kill()
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
    assert left == []


def processes_about(mark: str, cwd: Path) -> list[str]:
    """Processes that name `mark` in their command line, or work in `cwd`."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and (mark in line or process.cwd() == str(cwd)):
                found.append(f"{process.pid} {line}")
        except psutil.Error:
            continue
    return found


def wait_until_gone(processes: Callable[[], list[str]], seconds: float = 15) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def family(done: Finished, kind: str) -> tuple[Run, list[Run]]:
    """The only parent, of the kind named, and its children by name."""
    runs = done.runs()
    (parent,) = [run for run in runs if run.data.tags["run.kind"] != "trial"]
    children = [run for run in runs if run is not parent]
    assert parent.data.tags["run.kind"] == kind and parent.info.status == "FINISHED"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    return parent, sorted(children, key=lambda child: child.info.run_name)


def curve(done: Finished, run: Run) -> list[int]:
    return [point.step for point in done.client.get_metric_history(run.info.run_id, "val_loss")]


@in_ci
@pytest.mark.parametrize("launcher", ["ray", "submitit_local"], indirect=True)
def test_a_study_has_one_parent_and_its_trials_as_children(workdir: Path, launcher: Launcher) -> None:
    done = train(
        workdir,
        *("--multirun", "data=synthetic", "hpo.num_trials=4", "hpo.n_jobs=2", f"training.epochs={EPOCHS}"),
        *("hpo.reseeds=0", "tracking.report=false", *launcher.overrides),
        env=launcher.environment,
    )
    assert done.status == 0, done.err
    parent, children = family(done, "study")
    names = [f"trial-{number:04d}" for number in range(4)]
    assert [child.info.run_name for child in children] == names
    study = parent.data.tags["study.name"]
    for number, child in enumerate(children):
        tags = child.data.tags
        assert child.info.status == "FINISHED"
        assert (tags["run.kind"], tags["trial.number"], tags["trial.state"]) == ("trial", str(number), "complete")
        assert tags["study.name"] == study
        assert curve(done, child) == list(range(1, EPOCHS + 1))
        assert json.loads(tags["trial.values"]) == [child.data.metrics["final_loss"]]
        assert child.data.params["training.epochs"] == str(EPOCHS)
    assert parent.data.metrics["best_value"] == min(child.data.metrics["final_loss"] for child in children)
    assert [folder.name for folder in (workdir / "multirun").iterdir()] == [study]
    folders = {folder.name for folder in (workdir / "multirun" / study).iterdir() if folder.is_dir()}
    assert folders - {".submitit"} == set(names)


@in_ci
@pytest.mark.parametrize("launcher", ["joblib"], indirect=True)
def test_a_plain_sweep_has_one_parent_and_its_jobs_as_children(workdir: Path, launcher: Launcher) -> None:
    done = train(
        workdir,
        *("--multirun", "hydra/sweeper=basic", "data=synthetic", "seed=1,2", f"training.epochs={EPOCHS}"),
        *launcher.overrides,
        env=launcher.environment,
    )
    assert done.status == 0, done.err
    _, children = family(done, "sweep")
    assert [child.info.run_name for child in children] == ["trial-0000", "trial-0001"]
    assert [child.data.params["seed"] for child in children] == ["1", "2"]
    assert {child.info.status for child in children} == {"FINISHED"}
    assert all(curve(done, child) == list(range(1, EPOCHS + 1)) for child in children)
    assert len({child.data.metrics["val_loss"] for child in children}) == 2


@in_ci
@pytest.mark.parametrize("launcher", ["joblib"], indirect=True)
def test_workers_ask_the_pruner_of_the_study(workdir: Path, launcher: Launcher) -> None:
    done = train(
        workdir,
        *("--multirun", "hpo.num_trials=12", "hpo.n_jobs=2", "hpo.pruner=median", "training.epochs=20"),
        *("hpo.reseeds=0", "tracking.report=false", *launcher.overrides),
    )
    assert done.status == 0, done.err
    _, children = family(done, "study")
    assert {child.info.status for child in children} == {"FINISHED"} and len(children) == 12
    lengths = {child.info.run_name: len(curve(done, child)) for child in children}
    pruned = {child.info.run_name for child in children if child.data.tags["trial.state"] == "pruned"}
    assert pruned == {name for name, length in lengths.items() if length < 20}
    assert pruned and min(lengths.values()) > 0


@in_ci
@pytest.mark.parametrize("launcher", ["ray", "submitit_local"], indirect=True)
def test_a_terminated_study_leaves_no_worker_and_no_open_run(workdir: Path, launcher: Launcher) -> None:
    command = ["--multirun", "data=synthetic", "hpo.num_trials=2", "hpo.n_jobs=2", "training.epochs=20000"]
    process = start(workdir, *command, *launcher.overrides, env=launcher.environment)
    try:
        deadline = time.monotonic() + 60
        while not list(workdir.glob("multirun/*/trial-0000")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        done = process.end(60)
    finally:
        process.kill()
    assert done.status == 143, done.err
    assert wait_until_gone(launcher.processes) == []
    runs = done.runs()
    assert [run.info.status for run in runs] == ["KILLED"] * 3
    assert [run.data.tags.get("trial.state") for run in runs] == [None, "interrupted", "interrupted"]
