"""`reproduce --verify` of real commands: a run with uncommitted changes in a clone, and a trial of a study."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from support import REPOSITORY, Command, artifact_folder, git, in_ci, python, train

from tradingbot_exp.cli.main import run
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars

pytestmark = in_ci

# An uncommitted change that needs an untracked file, and changes every number.
CHANGE = """
from tradingbot_exp.factor import FACTOR

_make_optimizer = make_optimizer


def make_optimizer(name, parameters, learning_rate, *others):
    return _make_optimizer(name, parameters, learning_rate * FACTOR, *others)
"""
BARS = ["data=csv", "data.path=../bars.csv", "training=smoke", "training.progress=off"]


class Clone:
    """A clone with uncommitted changes, and one run made in it."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.root, self.bars = folder / "clone", folder / "bars.csv"
        bars = load_bars(DataConfig(name="synthetic", source="synthetic")).frame.iloc[:400]
        bars.rename_axis("date").to_csv(self.bars)
        for name in ("src", "conf"):
            shutil.copytree(REPOSITORY / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / ".gitignore").write_text("__pycache__/\nmlflow.db*\n.mlflow*\nmlruns/\noutputs/\n")
        git(self.root, "init", "-q", "-b", "trunk")
        git(self.root, "add", ".")
        git(self.root, "commit", "-qm", "first")
        package = self.root / "src" / "tradingbot_exp"
        (package / "factor.py").write_text("FACTOR = 2.0\n")
        with (package / "training" / "optim.py").open("a") as file:
            file.write(CHANGE)
        shutil.copy(store, self.root / "mlflow.db")
        done = train(self.root, *BARS, env={"PYTHONPATH": str(self.root / "src")})
        assert done.status == 0, done.err
        self.run_id = done.run.info.run_id
        self.artifacts = artifact_folder(done.run)
        # What happens afterwards does not count.
        (package / "factor.py").write_text("FACTOR = 9.0\n")
        (package / "later.py").write_text("x = 1\n")
        self.state = self.look()

    def look(self) -> tuple[str, ...]:
        words = (["status", "--porcelain"], ["diff"], ["branch", "-a"], ["stash", "list"], ["worktree", "list"])
        return tuple(git(self.root, *each) for each in words)

    def verify(self) -> int:
        """Run the command in this process, which saves its start."""
        status = run(
            ["reproduce", self.run_id, "--verify", "--trust", "--tracking-uri", f"sqlite:///{self.root / 'mlflow.db'}"]
        )
        assert self.look() == self.state
        return status

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Clone:
    return Clone(tmp_path_factory.mktemp("reproduce").resolve(), store_template)


@pytest.fixture
def altered(clone: Clone) -> Iterator[Clone]:
    """The clone, whose artifacts are put back afterwards."""
    files = [clone.artifacts / name for name in ("code/uncommitted.patch", "environment/requirements.txt")]
    before = [file.read_bytes() for file in files]
    yield clone
    for file, content in zip(files, before, strict=True):
        file.write_bytes(content)


def test_a_run_made_with_uncommitted_changes_is_identical(clone: Clone) -> None:
    done = python(clone.root, "-m", "tradingbot_exp", "reproduce", clone.run_id, "--verify", "--trust")
    assert clone.look() == clone.state
    assert done.status == 0 and done.out.startswith("identical: "), done.err + done.out
    assert "and its uncommitted changes" in done.out and "not same" not in done.out
    tags = clone.client.get_run(clone.run_id).data.tags
    assert tags["reproduced.result"] == "identical"
    assert len(clone.client.search_runs(["0", "1"])) == 1


def test_one_altered_line_of_code_and_one_altered_package_are_named(
    altered: Clone, capsys: pytest.CaptureFixture[str]
) -> None:
    patch, packages = (altered.artifacts / name for name in ("code/uncommitted.patch", "environment/requirements.txt"))
    assert patch.read_text().count("FACTOR = 2.0") == 1
    patch.write_text(patch.read_text().replace("FACTOR = 2.0", "FACTOR = 2.5"))
    packages.write_text(packages.read_text().replace("numpy==", "numpy==0."))
    status, done = altered.verify(), capsys.readouterr()
    assert status == 1 and done.out.startswith("different: "), done.err
    assert "first     train_loss at step 1" in done.out
    assert "likely    code: the patch in the artifacts is not the one" in done.out.replace("\n            ", " ")
    assert "packages: numpy was 0." in done.out and "packages: numpy was 0." in done.err
    tags = altered.client.get_run(altered.run_id).data.tags
    assert tags["reproduced.result"].startswith("different: train_loss at step 1; likely cause code: ")


def command_of(process: psutil.Process) -> str:
    """Give the command line of a process, empty for one that has just ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_interrupted_it_leaves_neither_worktree_nor_process(clone: Clone) -> None:
    process = Command(clone.root, "-m", "tradingbot_exp", "reproduce", clone.run_id, "--verify", "--trust")
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while not any("replay.py" in command_of(child) for child in children):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    done = process.end(60)
    assert done.status == 143 and "Interrupted" in done.err and "Traceback" not in done.err
    assert clone.look() == clone.state
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_a_studys_trial_is_made_again_alone_and_all_commands_know_the_study(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)

    def said(*words: str) -> str:
        assert run(words) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    small = ["data=synthetic", "training=smoke", "training.progress=off"]
    study = train(workdir, "--multirun", *small, "hpo.num_trials=2", "hpo.param_space.batch_size=[32]")
    assert study.status == 0, study.err
    single = train(workdir, *small)
    assert single.status == 0, single.err
    runs = {each.data.tags["run.kind"]: each for each in single.runs()}
    parent, alone = runs["study"], runs["training"]
    best = parent.data.tags["best.run_id"]
    assert single.client.get_run(best).data.tags["engine"] == "stacked"

    found = json.loads(said("reproduce", parent.info.run_id[:12], "--verify", "--trust", "--json"))
    assert (found["run_id"], found["result"], found["causes"]) == (best, "identical", [])
    assert single.client.get_run(best).data.tags["reproduced.result"] == "identical"
    assert "reproduced.result" not in single.client.get_run(parent.info.run_id).data.tags

    command = json.loads(said("reproduce", best, "--json"))["command"]
    params = single.client.get_run(best).data.params
    assert command.startswith(f"python -m tradingbot_exp.train {' '.join(small)} ")
    assert f"model.learning_rate={params['model.learning_rate']}" in command

    history = json.loads(said("history", "--json"))["configurations"]
    assert [entry["kind"] for entry in history] == ["single", "study"]
    assert history[1]["trials"] == {"complete": 2} and history[1]["result"]["run_id"] == best
    assert history[0]["run_ids"] == [alone.info.run_id]

    diff = json.loads(said("diff", alone.info.run_id, best, "--json"))
    searched = set(history[1]["searched"])
    assert set(diff["config"]) <= searched | {"model.version"} and diff["missing"] == []
    assert diff["code"] == {"engine": {"a": "single", "b": "stacked"}}
    assert (diff["data"], diff["packages"]) == ({}, {})

    assert "are in order" in said("doctor")


def test_a_trial_of_a_commit_with_another_layout_is_made_again_by_the_code_of_that_commit(
    tmp_path: Path, store_template: Path
) -> None:
    old, before_the_layers = tmp_path / "old", "b253dd9"
    git(tmp_path, "clone", "-q", "--no-checkout", str(REPOSITORY), str(old))
    git(old, "checkout", "-q", before_the_layers)
    shutil.copy(store_template, old / "mlflow.db")
    overrides = ["--multirun", "training=smoke", "training.progress=off", "tracking.report=false", "hpo.num_trials=1"]
    study = train(old, *overrides, "hpo.reseeds=0", env={"PYTHONPATH": str(old / "src")})
    assert study.status == 0, study.err
    (trial,) = (found for found in study.runs() if found.data.tags["run.kind"] == "trial")
    again = python(old, "-m", "tradingbot_exp", "reproduce", trial.info.run_id, "--verify", "--trust", "--json")
    assert again.status == 0, again.err
    assert json.loads(again.out)["result"] == "identical"
