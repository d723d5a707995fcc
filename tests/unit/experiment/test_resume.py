"""A run that was interrupted goes on to the metrics, bit by bit, of one that was not; what cannot go on is refused."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from support import artifact_folder, in_ci, python

from tradingbot_exp import ExperimentOrganizer, load_run, run_hpo_study, train
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.finalize import config_sha256
from tradingbot_exp.config.plugins import EPOCH_HOOKS, on_epoch
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError, DataError, RunError, TradingBotError
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.tracking.writing.checkpoints import decode, encode

SMALL = ["data=synthetic", "training.progress=off", "tracking.report=false"]
PLAIN = [*SMALL, "model.hidden_layers=[8]", "training.epochs=8", "training.scheduler=cosine", "model.dropout=0.2"]
KEPT = [*PLAIN, "training.checkpoint_every=3"]
KILLED = """
import os, signal
from tradingbot_exp import train
from tradingbot_exp.plugins import on_epoch

@on_epoch
def kill(epoch, losses, config):
    if epoch == 5:
        os.kill(os.getpid(), signal.SIGKILL)

train({overrides!r})
"""


class PulledPlugError(Exception):
    """What ends a training from outside."""


@contextmanager
def pulled_plug(epoch: int, folds: int = 1) -> Iterator[None]:
    """Let a training end by an exception of a hook in an epoch, when so many folds have begun."""
    begun = 0

    def hook(number: int, _losses: dict[str, float], _config: Any) -> None:
        nonlocal begun
        begun += number == 1
        if number == epoch and begun == folds:
            raise PulledPlugError("the plug was pulled")

    on_epoch(hook)
    try:
        with pytest.raises(PulledPlugError):
            yield
    finally:
        EPOCH_HOOKS.clear()


@pytest.fixture
def here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workdir)
    return workdir


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def points(folder: Path, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every metric point of a run, in the order of the steps."""
    store = client(folder)
    names = store.get_run(run_id).data.metrics
    return {name: sorted((each.step, each.value) for each in store.get_metric_history(run_id, name)) for name in names}


def see_the_same(folder: Path, run: LoadedRun, other: LoadedRun) -> None:
    """See that two runs have the same points, once each, the same forecasts and the same weights."""
    assert points(folder, run.run_id) == points(folder, other.run_id)
    assert run.predictions.equals(other.predictions)
    a, b = (
        artifact_folder(client(folder).get_run(each.run_id)) / "model/data/data/weights.pt" for each in (run, other)
    )
    weights = torch.load(a, weights_only=True), torch.load(b, weights_only=True)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in (*weights[0], *weights[1]))
    assert run.tags["config.sha256"] == other.tags["config.sha256"]


def folder_of(folder: Path, run_id: str) -> Path:
    return artifact_folder(client(folder).get_run(run_id)) / "checkpoints"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Path:
    """Where one run was never disturbed, and a real process was killed by SIGKILL in the midst of another."""
    place = tmp_path_factory.mktemp("resuming")
    shutil.copy(store_template, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train([*PLAIN, "experiment.run_name=undisturbed"])
    overrides = [*KEPT, "experiment.run_name=killed"]
    assert python(place, "-c", KILLED.format(overrides=overrides)).status == -signal.SIGKILL
    return place


def named(folder: Path, name: str) -> Run:
    (run,) = client(folder).search_runs(["0", "1"], f"attributes.run_name = '{name}'")
    return run


@pytest.fixture
def killed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The killed run, in a copy of the store; the current directory is another one."""
    for file in place.glob("mlflow.db*"):  # this process has it open: some of it may be in the write-ahead log
        shutil.copy(file, tmp_path / file.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return named(tmp_path, "killed")


def test_a_run_whose_process_was_killed_goes_on_to_the_same_bits_from_another_directory(
    killed: Run, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert killed.info.status == "RUNNING"
    assert [step for step, _ in points(tmp_path, killed.info.run_id)["val_loss"]] == [1, 2, 3]
    kept = folder_of(tmp_path, killed.info.run_id)
    before = shutil.copytree(kept.parent, tmp_path / "before")
    assert [file.name for file in kept.iterdir()] == ["last.pt"]
    try:
        run = train([f"training.resume={killed.info.run_id[:8]}"])
        undisturbed = load_run(named(tmp_path, "undisturbed").info.run_id)
        assert run.run_id == killed.info.run_id and run.status == "FINISHED" and run.name == "killed"
        see_the_same(tmp_path, run, undisturbed)
        assert not kept.exists()
        assert {name: text for name, text in run.tags.items() if name.startswith(("resumed.", "checkpoint."))} == {
            "resumed.count": "1",
            "resumed.from": "epoch 3 of 8",
            "resumed.after": "RUNNING",
            "resumed.at": run.tags["resumed.at"],
        }
        assert run.tags["process.pid"] == str(os.getpid()) != killed.data.tags["process.pid"]
        assert run.params == killed.data.params
        for file in ("config/overrides.yaml", "config/config.yaml", "environment/environment.json"):
            assert (kept.parent / file).read_bytes() == (before / file).read_bytes()
        names = [{str(file.relative_to(folder)) for file in folder.rglob("*.*")} for folder in (kept.parent, before)]
        expected = artifact_folder(named(place, "undisturbed"))
        assert names[0] == {str(file.relative_to(expected)) for file in expected.rglob("*.*")}
    finally:  # the artifacts are shared with other tests
        shutil.rmtree(kept.parent)
        shutil.copytree(before, kept.parent)


FOLDS = ["evaluation.scheme=walk_forward", "evaluation.folds=3", "training.early_stopping=2", "training.epochs=6"]


@pytest.mark.parametrize(
    ("case", "plugs", "after"),
    [
        ([*FOLDS, "model.learning_rate=0.02"], [(2, 1), (2, 1), (2, 1)], "epoch 1 of 6, fold 3 of 3"),
        (
            ["training.ensemble=2", "evaluation.scheme=walk_forward", "evaluation.folds=2", "training.epochs=3"],
            [(2, 2), (3, 2)],
            "epoch 2 of 3, fold 2 of 2, network 2 of 2",
        ),
        pytest.param(
            ["training.epochs=4", "training.precision=float64", "training.optimizer=NAdam", "training.scheduler=step"],
            [(4, 1)],
            "epoch 3 of 4",
            marks=in_ci,
        ),
        pytest.param(
            ["training.epochs=3", "model=lstm", "data.sequence_length=5", "training.scheduler=plateau"],
            [(3, 1), (3, 0)],
            "epoch 2 of 3",
            marks=in_ci,
        ),
        pytest.param(
            ["training.epochs=3", "data.synthetic.symbols=4", "data.sequence_length=5", "data.scaling=date"],
            [(3, 1)],
            "epoch 2 of 3",
            marks=in_ci,
        ),
    ],
    ids=["folds", "ensemble", "float64", "lstm", "panel"],
)
def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(
    here: Path, case: list[str], plugs: list[tuple[int, int]], after: str
) -> None:
    undisturbed = train([*SMALL, *case])
    words = [*SMALL, *case, "training.checkpoint_every=1"]
    with pulled_plug(*plugs[0]):
        train(words)
    for plug in plugs[1:]:
        with pulled_plug(*plug):
            train(["training.resume=latest"])
    stopped = load_run()
    assert stopped.status == "FAILED" and stopped.tags["error"] == "PulledPlugError: the plug was pulled"
    run = train(["training.resume=latest"])
    assert run.run_id == stopped.run_id
    assert run.tags["resumed.count"] == str(len(plugs)) and run.tags["resumed.from"] == after
    see_the_same(here, run, undisturbed)
    assert "error" not in run.tags and run.tags["resumed.after"] == "FAILED PulledPlugError: the plug was pulled"
    kept = folder_of(here, run.run_id).parent / "error"
    assert sorted(file.name for file in kept.iterdir()) == [f"traceback-{n + 1}.txt" for n in range(len(plugs))]


def refused(*overrides: str) -> str:
    with pytest.raises(TradingBotError) as caught:
        train(list(overrides))
    assert isinstance(caught.value, ConfigError | DataError | RunError)
    return str(caught.value)


def seen(folder: Path, run_id: str) -> tuple[dict[str, Any], dict[str, str], dict[str, list[tuple[int, float]]]]:
    run = client(folder).get_run(run_id)
    return dict(run.info), run.data.tags, points(folder, run_id)


def test_what_differs_is_named_and_nothing_is_changed(killed: Run, tmp_path: Path) -> None:
    run_id, before = killed.info.run_id, seen(tmp_path, killed.info.run_id)
    word = f"training.resume={run_id}"
    text = refused(word, "model.hidden_layers=[16]", "model.dropout=0.2")
    assert "model.hidden_layers is [8] there, and [16] is given" in text and "dropout" not in text
    assert "training.epochs is 8 there, and 9 is given" in refused(word, "training.epochs=9")
    assert "training.epochs is 8 there, and 2 is given" in refused(word, "training=smoke")
    assert "data.name is synthetic there, and ibm is given" in refused(word, "data=ibm")
    assert "seed is 42 there, and 1 is given" in refused(word, "seed=1", "training.checkpoint_every=9")
    # A template may bring another form of a search space, which no run reads.
    assert "experiment.name is tradingbot there, and hpo_example is given" in refused(word, "experiment=hpo_example")
    assert seen(tmp_path, run_id) == before
    assert {file.name.partition("-")[0] for file in tmp_path.rglob("*") if file.is_file()} == {"mlflow.db"}


def test_a_run_that_cannot_be_gone_on_with_is_refused_by_its_kind_and_state(
    killed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run_id = client(tmp_path), killed.info.run_id
    word = f"training.resume={run_id[:10]}"
    done = named(tmp_path, "undisturbed").info.run_id
    assert "is complete, 8 of 8 epochs: there is nothing to resume" in refused(f"training.resume={done}")
    assert "There is no run 'feedbeef'" in refused("training.resume=feedbeef")
    assert "training.checkpoint_every must be" in refused("training.checkpoint_every=0")
    for kind, said in (
        ("trial", "is a trial, not a training run. A study is resumed by its own command"),
        ("study", "Give its own command again, with --multirun"),
        ("test_evaluation", "is a test-set evaluation, not a training run"),
    ):
        store.set_tag(run_id, "run.kind", kind)
        assert said in refused(word)
    store.delete_tag(run_id, "run.kind")
    assert "is a run of another program, not a training run" in refused(word)
    store.set_tag(run_id, "run.kind", "training")

    own = {name: text for name, text in client(tmp_path).get_run(done).data.tags.items() if name.startswith("process.")}
    for name, text in own.items():
        store.set_tag(run_id, name, text)
    assert f"is being trained, by the process {os.getpid()} on" in refused(word)
    store.set_tag(run_id, "process.pid", killed.data.tags["process.pid"])

    store.delete_tag(run_id, "checkpoint.file")
    assert "has no checkpoint to resume from: a run keeps them if" in refused(word)


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "gone", "empty"])
def test_a_damaged_checkpoint_is_refused(killed: Run, tmp_path: Path, damage: str) -> None:
    file = folder_of(tmp_path, killed.info.run_id) / "last.pt"
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    broken = {"cut": whole[: len(whole) // 2], "flipped": bytes(flipped), "foreign": b"PK" + whole, "empty": b""}
    try:
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(broken[damage])
        text = refused("training.resume=latest")
        assert ("no checkpoint" if damage == "gone" else "last.pt of the run") in text
        assert damage == "gone" or "damaged" in text
    finally:
        file.write_bytes(whole)


class Opened:
    """An object whose reading would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("executed",)


@contextmanager
def altered(file: Path, content: dict[str, Any]) -> Iterator[None]:
    """Let a checkpoint hold something else, for the length of a ``with`` block."""
    whole = file.read_bytes()
    file.write_bytes(encode(content))
    try:
        yield
    finally:
        file.write_bytes(whole)


def test_a_checkpoint_that_holds_code_is_not_executed(killed: Run, tmp_path: Path) -> None:
    file = folder_of(tmp_path, killed.info.run_id) / "last.pt"
    with altered(file, {**decode(file.read_bytes()), "folds": [Opened()]}):
        assert "cannot be read without executing code that it holds" in refused("training.resume=latest")
    assert not Path("executed").exists()


def test_other_code_packages_and_device_are_refused_by_name(killed: Run, tmp_path: Path) -> None:
    file = folder_of(tmp_path, killed.info.run_id) / "last.pt"
    content = decode(file.read_bytes())
    assert {"the source of tradingbot_exp", "the source of the plugins", "torch", "the device"} <= set(
        content["identity"]
    )
    other = {name: "other" for name in content["identity"] if name not in ("the data", "the configuration")}
    with altered(file, {**content, "identity": content["identity"] | other}):
        text = refused("training.resume=latest")
    assert all(f"{name} (other before, {content['identity'][name]} now)" in text for name in other)
    assert "the data" not in text and "the configuration" not in text


def test_other_data_are_refused_and_moved_ones_are_found(here: Path) -> None:
    words = [*SMALL[1:], "data=csv", "data.path=bars.csv", "training.epochs=2", "training.checkpoint_every=1"]
    frame = load_bars(DataConfig(name="ibm")).frame.tail(900)
    frame.to_csv("bars.csv")
    with pulled_plug(2):
        train(words)
    frame.iloc[:-1].to_csv("bars.csv")
    text = refused("training.resume=latest")
    assert "these are not what they were: the data (" in text and "the configuration" not in text
    Path("bars.csv").unlink()
    text = refused("training.resume=latest")
    assert "the data of the run" in text and f"there is no file {here / 'bars.csv'}" in text
    frame.to_csv("moved.csv")
    assert train(["training.resume=latest", "data.path=moved.csv"]).status == "FINISHED"


def test_what_came_from_the_environment_is_given_again_and_never_read_for_a_store(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARE", "IBM")
    frame = load_bars(DataConfig(name="ibm")).frame.tail(900)
    frame.assign(symbol="IBM").to_csv("bars.csv")
    words = [*SMALL[1:], "data=csv", "data.path=bars.csv", "data.symbol=${oc.env:SHARE}", "training.epochs=2"]
    with pulled_plug(2):
        train([*words, "training.checkpoint_every=1", "experiment.description=${oc.env:SHARE}"])
    assert "data.symbol of the run" in (text := refused("training.resume=latest"))
    assert "came from the environment. Give it again: data.symbol=VALUE" in text
    done = train(["training.resume=latest", "data.symbol=${oc.env:SHARE}"])
    assert done.status == "FINISHED" and done.params["data.symbol"] == "${oc.env:SHARE}"


def test_a_study_in_python_does_not_go_on_with_a_training_run(here: Path) -> None:
    config, rows = compose_config(["training.resume=latest"]), torch.zeros(20, 3)
    with pytest.raises(ConfigError, match="A study is resumed by its own command"):
        run_hpo_study(config, rows, rows[:, 0], rows, rows[:, 0], ExperimentOrganizer(config))


def test_neither_key_changes_the_identity_of_a_run() -> None:
    plain, kept = compose_config(SMALL), compose_config([*SMALL, "training.checkpoint_every=2", "training.resume=abc"])
    assert config_sha256(plain, "data") == config_sha256(kept, "data")
    assert compose_config(["training.checkpoint_every=off"]).training.checkpoint_every is None
