"""A real process is killed in the midst of training, by several means, and its run goes on to the very same bits."""

from __future__ import annotations

import shlex
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from support import Command, Finished, artifact_folder, in_ci, python, train

WORDS = ["data=synthetic", "training.progress=plain", "tracking.report=false", "training.scheduler=cosine"]
LONG = [*WORDS, "training.epochs=300", "model.dropout=0.1", "training.batch_size=64"]


def end_after_a_checkpoint(cwd: Path, arguments: list[str], how: signal.Signals) -> Finished:
    """Start a command, let it train past another checkpoint, and end it."""
    files = set(cwd.rglob("last.pt"))
    before = {file: file.stat().st_mtime_ns for file in files}
    process = Command(cwd, *arguments)
    deadline = time.monotonic() + 180
    while all(before.get(file) == file.stat().st_mtime_ns for file in cwd.rglob("last.pt")):
        assert process.poll() is None and time.monotonic() < deadline, process.err
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(how)
    return process.end(60)


def points(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    run_id = run.info.run_id
    names = client.get_run(run_id).data.metrics
    return {name: sorted((each.step, each.value) for each in client.get_metric_history(run_id, name)) for name in names}


def command_in(text: str) -> list[str]:
    """Give the arguments of the one command that a text tells to go on with."""
    (line,) = (line for line in text.splitlines() if "training.resume=" in line)
    return shlex.split(line.partition("python ")[2])


@in_ci
def test_a_run_that_is_killed_twice_goes_on_to_the_bits_of_one_that_was_not(workdir: Path) -> None:
    first = ["-m", "tradingbot_exp.train", *LONG, "training.checkpoint_every=3", "experiment.run_name=killed"]
    done = end_after_a_checkpoint(workdir, first, signal.SIGKILL)
    assert done.status == -signal.SIGKILL and done.run.info.status == "RUNNING"
    found = python(workdir, "-m", "tradingbot_exp", "doctor")
    assert found.status == 1 and "is RUNNING, but its process" in " ".join(found.out.split())
    fixed = python(workdir, "-m", "tradingbot_exp", "doctor", "--fix")
    assert fixed.status == 0 and done.run.info.status == "KILLED"
    assert command_in(fixed.out) == command_in(found.out)
    interrupted = end_after_a_checkpoint(workdir, command_in(fixed.out), signal.SIGINT)
    assert interrupted.status == 130 and "Resuming the run killed" in interrupted.err + interrupted.out
    assert done.run.info.status == "KILLED" and command_in(interrupted.err) == command_in(fixed.out)
    resumed = train(workdir, "training.resume=latest")
    assert resumed.status == 0, resumed.err
    assert done.run.info.status == "FINISHED" and done.run.data.tags["resumed.count"] == "2"
    assert not list(workdir.rglob("checkpoints"))

    undisturbed = train(workdir, *LONG, "experiment.run_name=undisturbed")
    killed, whole = undisturbed.runs()
    assert points(done.client, killed) == points(done.client, whole)
    assert len(points(done.client, killed)["val_loss"]) == 300
    a, b = (
        torch.load(artifact_folder(run) / "model/data/data/weights.pt", weights_only=True) for run in (killed, whole)
    )
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert killed.data.tags["config.sha256"] == whole.data.tags["config.sha256"]
    again = train(workdir, f"training.resume={killed.info.run_id}")
    assert again.status == 1 and "is complete, 300 of 300 epochs" in again.err


@in_ci
def test_a_killed_run_and_a_study_go_on_where_their_folder_was_moved_to(workdir: Path) -> None:
    old, new = workdir / "old", workdir / "new"
    old.mkdir()
    (workdir / "mlflow.db").rename(old / "mlflow.db")
    study = [*WORDS, "--multirun", "training.epochs=4", "hpo.reseeds=0", "data.path=null", "experiment.name=searched"]
    assert train(old, *study, "hpo.num_trials=2").status == 0
    first = ["-m", "tradingbot_exp.train", *LONG, "training.checkpoint_every=3", "experiment.run_name=killed"]
    assert end_after_a_checkpoint(old, first, signal.SIGKILL).status == -signal.SIGKILL
    old.rename(new)
    done = train(new, "training.resume=latest")
    assert done.status == 0, done.err
    assert not list(new.rglob("checkpoints"))
    went_on = train(new, *study, "hpo.num_trials=4")
    assert went_on.status == 0, went_on.err
    assert [run.info.status for run in went_on.runs()] == ["FINISHED"] * 6  # a study of 4 trials, and the run
    assert python(new, "-m", "tradingbot_exp", "doctor", "--fix").status == 0
    assert all(artifact_folder(run).is_relative_to(new) for run in went_on.runs())
    (killed,) = (run for run in went_on.runs() if run.info.run_name == "killed")
    assert python(new, "-m", "tradingbot_exp", "evaluate", killed.info.run_id, "--yes").status == 0
    verified = python(new, "-m", "tradingbot_exp", "reproduce", killed.info.run_id)
    assert f"cd {new}" in verified.out and verified.status == 0
    assert not old.exists()


@in_ci
def test_a_study_neither_goes_on_with_a_run_nor_keeps_checkpoints(workdir: Path) -> None:
    refused = train(workdir, "--multirun", "training.resume=latest")
    assert refused.status == 1 and "resumes one training run, without --multirun" in refused.err
    searched = train(workdir, "--multirun", "training.checkpoint_every=1,2")
    assert searched.status == 1 and "trials keep no checkpoints" in searched.err
    assert refused.runs() == []
    words = ["training.checkpoint_every=1", "hpo.num_trials=1", "training.epochs=2", *WORDS]
    done = train(workdir, "--multirun", *words)
    assert done.status == 0 and "trials keep no checkpoints" in done.err + done.out, done.err
    assert not list(workdir.rglob("*.pt.new")) and not list(workdir.rglob("last.pt"))


PULLED = """
from tradingbot_exp.plugins import on_epoch

@on_epoch
def hook(epoch, losses, config):
    import os, signal
    from pathlib import Path
    if epoch == 6 and not Path("pulled").exists():
        Path("pulled").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@in_ci
def test_a_checkpoint_goes_to_a_server_that_keeps_the_artifacts_and_the_servers_password_nowhere(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory, free_port: int, start_server: Callable[..., object]
) -> None:
    secret, launch = uuid.uuid4().hex, tmp_path_factory.mktemp("launch")
    uri = f"http://me:{secret}@127.0.0.1:{free_port}"
    command = ["mlflow", "server", "--port", str(free_port), "--workers", "1", "--artifacts-destination", "./served"]
    start_server([*command, "--backend-store-uri", f"sqlite:///{workdir / 'mlflow.db'}"], workdir, free_port)
    (launch / "plug.py").write_text(PULLED)
    words = [*WORDS, "training.epochs=8", "training.checkpoint_every=1", f"tracking.uri={uri}", "plugins=[plug]"]
    killed, client = train(launch, *words), MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    assert killed.status == -signal.SIGKILL, killed.err
    (run,) = client.search_runs(["1"])
    assert run.data.tags["checkpoint.file"] == "checkpoints/a.pt" and run.info.status == "RUNNING"
    kept = {file.name for file in (workdir / "served").rglob("checkpoints/*")}
    assert kept == {"a.pt", "b.pt"}
    resumed = train(launch, "training.resume=latest", "plugins=[plug]", f"tracking.uri={uri}")
    assert resumed.status == 0, resumed.err
    undisturbed = train(launch, *words[:-1], "tracking.report=true")
    assert undisturbed.status == 0, undisturbed.err
    second, first = client.search_runs(["1"])
    assert first.info.status == second.info.status == "FINISHED"
    assert first.data.tags["resumed.from"] == "epoch 5 of 8"
    assert points(client, first) == points(client, second)
    assert "checkpoint.file" not in first.data.tags and not list((workdir / "served").rglob("checkpoints/*"))

    for done in (killed, resumed, undisturbed):
        assert secret not in done.out + done.err
    files = [file for folder in (launch, workdir) for file in folder.rglob("*") if file.is_file()]
    assert [file for file in files if secret.encode() in file.read_bytes()] == [] and len(files) > 20
    assert second.data.params["tracking.uri"] == f"http://***@127.0.0.1:{free_port}"
    assert str(launch) not in second.info.artifact_uri


@pytest.mark.parametrize("word", ["training.checkpoint_every=0", "training.checkpoint_every=1.5"])
def test_a_checkpoint_after_no_whole_epoch_is_refused(word: str) -> None:
    from tradingbot_exp.config.compose import compose_config
    from tradingbot_exp.errors import ConfigError

    with pytest.raises(ConfigError, match=r"training\.checkpoint_every must be"):
        compose_config([word])
