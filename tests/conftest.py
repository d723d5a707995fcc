"""What tests share: a migrated store, one default run, one study, their reports, and servers that end in time."""

from __future__ import annotations

import copy
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from mlflow.entities import Run
from support import Finished, clean_environment, once, stop_server, train

from tradingbot_exp.config.choices import MODEL_KINDS, _registered
from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.config.registries import EPOCH_HOOKS, SOURCES, USER_METRICS, USER_SAMPLERS
from tradingbot_exp.data.features import _WARMUPS, FEATURES
from tradingbot_exp.models.registry import _MODELS
from tradingbot_exp.tracking.store.client import open_client

REGISTRIES: tuple[Any, ...] = (
    *(FEATURES, _WARMUPS, LOSSES, POSITIONS, SOURCES, USER_METRICS, USER_SAMPLERS, EPOCH_HOOKS),
    *(_MODELS, _registered),
)
AS_SHIPPED = [copy.copy(registry) for registry in REGISTRIES]  # before a module of tests is imported

settings.register_profile("here", deadline=None)  # a busy machine is no failure
settings.load_profile("here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest test first: at the end, one worker would wait for it alone."""
    items.sort(key=lambda item: not item.name.startswith("test_every_step_of_every_page"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all worker processes of this test session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def store_template(shared_folder: Path) -> Path:
    """A migrated, empty SQLite store: migrating takes seconds, copying does not."""

    def make(folder: Path) -> None:
        open_client(f"sqlite:///{folder / 'mlflow.db'}")

    return once(shared_folder / "store", make) / "mlflow.db"


@pytest.fixture
def workdir(tmp_path: Path, store_template: Path) -> Path:
    """An empty launch directory outside git, but for a migrated store."""
    shutil.copy(store_template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def default_run(shared_folder: Path) -> Finished:
    """The main job, run once as a newcomer would: no store, nothing set, output piped."""

    def make(folder: Path) -> None:
        done = train(folder, fresh=True)
        (folder / "out.txt").write_text(done.out)
        (folder / "err.txt").write_text(done.err)
        (folder / "status.txt").write_text(str(done.status))
        (folder / "stores.txt").write_text(" ".join(file.name for file in folder.glob("mlflow.db*")))

    folder = once(shared_folder / "default-run", make)
    texts = [(folder / name).read_text() for name in ("out.txt", "err.txt", "status.txt")]
    return Finished(folder, texts[0], texts[1], int(texts[2]))


@pytest.fixture(scope="session")
def study_run(default_run: Finished, shared_folder: Path) -> Finished:
    """A small study in a copy of the default run's store."""

    def make(folder: Path) -> None:
        shutil.copytree(default_run.cwd, folder, dirs_exist_ok=True)
        overrides = ["hpo.num_trials=5", "training.epochs=4", "experiment.name=searched", "training.progress=off"]
        done = train(folder, "--multirun", *overrides, fresh=True)
        assert done.status == 0, done.err

    return Finished(once(shared_folder / "study-run", make), "", "", 0)


@pytest.fixture(scope="session")
def compared(study_run: Finished) -> list[Run]:
    """The default run, the study's best trial, and another one."""
    runs = study_run.runs()
    (study,) = (run for run in runs if run.data.tags["run.kind"] == "study")
    (training,) = (run for run in runs if run.data.tags["run.kind"] == "training")
    trials = [run for run in runs if run.data.tags["run.kind"] == "trial"]
    best = study.data.tags["best.run_id"]
    trials.sort(key=lambda run: run.info.run_id != best)
    return [training, *trials[:2]]


@pytest.fixture(scope="session")
def reports(default_run: Finished, study_run: Finished, compared: list[Run], shared_folder: Path) -> dict[str, Path]:
    """The report of each kind: of the default run, of the study, and of `compared`."""

    from tradingbot_exp import ExperimentReporter

    def make(folder: Path) -> None:
        (training,) = (default_run.cwd / "reports").glob("*.html")
        shutil.copy(training, folder / "training.html")
        (study,) = (study_run.cwd / "reports").glob("hpo-*.html")
        shutil.copy(study, folder / "study.html")
        reporter = ExperimentReporter(f"sqlite:///{study_run.cwd / 'mlflow.db'}")
        reporter.generate_model_comparison_report([run.info.run_id for run in compared], folder / "comparison.html")

    folder = once(shared_folder / "reports", make)
    return {kind: folder / f"{kind}.html" for kind in ("training", "study", "comparison")}


@pytest.fixture(autouse=True)
def _no_steering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the environment of whoever runs the tests from steering them."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "HYDRA_", "TRADINGBOT_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="module")
def _as_shipped() -> None:
    """Forget what the import of a module of tests, or a test of another one, has registered."""
    _put_back(AS_SHIPPED)


@pytest.fixture(autouse=True)
def _own_registries(_as_shipped: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget what a test registers, and the modules that it imports from folders of tests."""
    registered, imported = [copy.copy(registry) for registry in REGISTRIES], {*sys.modules}
    yield
    _put_back(registered)
    for name in {*sys.modules} - imported:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path_factory.getbasetemp())):
            del sys.modules[name]


def _put_back(registered: list[Any]) -> None:
    for registry, before in zip(REGISTRIES, registered, strict=True):
        # Models of this package are registered when they are first asked for.
        loaded = {name: registry[name] for name in MODEL_KINDS if registry is _MODELS and name in registry}
        registry.clear()
        registry.update(before)
        registry.update(loaded)


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start_server() -> Iterator[Callable[[list[str], Path, int], subprocess.Popen[bytes]]]:
    """Start servers that are ended with the test, each in a process group of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], cwd: Path, port: int) -> subprocess.Popen[bytes]:
        program = str(Path(sys.executable).with_name(command[0]))
        server = subprocess.Popen(
            [program, *command[1:]],
            cwd=cwd,
            # Else MLflow starts eight processes more, for jobs that nobody here gives it.
            env=clean_environment({"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(server)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert server.poll() is None, f"{command} ended by itself"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    return server
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"{command} did not answer")

    yield start
    for server in started:
        stop_server(server)
