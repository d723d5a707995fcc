"""Another metric is a row and a function, another loss a row: added so to a copy of the source, they are there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import REPOSITORY, in_ci, train

ROW = '    Metric("bias", "mean error", "forecast", "error", 0, "forecast less actual", rivals=("linear",)),\n'
FUNCTION = '    "bias": lambda of: float(np.mean(of.forecast - of.actual)) if of.actual.size else float("nan"),\n'
LOSS = '    Loss("logcosh", "log of the cosh", lambda out, y: (out - y).cosh().log().mean()),\n'


def added(file: Path, after: str, line: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(after) == 1
    file.write_text(text.replace(after, after + line), encoding="utf-8")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder in ("src", "conf"):
        shutil.copytree(REPOSITORY / folder, tmp_path / "source" / folder)
    return tmp_path / "source" / "src"


@in_ci
def test_a_row_and_a_function_are_all_that_a_metric_takes(workdir: Path, source: Path) -> None:
    package = source / "tradingbot_exp"
    added(package / "config" / "metrics.py", "_ROWS = (\n", ROW)
    added(
        package / "evaluation" / "metrics" / "functions.py",
        "FUNCTIONS: dict[str, Callable[[Sample], float]] = {\n",
        FUNCTION,
    )
    env = {"PYTHONPATH": str(source)}
    done = train(workdir, "training=smoke", "training.progress=off", env=env)
    assert done.status == 0, done.err
    metrics = done.run.data.metrics
    assert {"val_bias", "val_linear_bias"} <= metrics.keys() and "mean error " in done.out
    (report,) = (workdir / "reports").glob("*.html")
    assert "mean error" in report.read_text(encoding="utf-8")
    searched = ["hpo.metric=val_bias", "hpo.direction=minimize", "hpo.num_trials=2", "hpo.reseeds=0"]
    study = train(workdir, "--multirun", "training=smoke", "training.progress=off", *searched, env=env)
    assert study.status == 0, study.err
    assert "val_bias" in study.out


@in_ci
def test_a_row_is_all_that_a_loss_takes(workdir: Path, source: Path) -> None:
    added(source / "tradingbot_exp" / "config" / "losses.py", "    for row in (\n", f"    {LOSS}")
    env, words = {"PYTHONPATH": str(source)}, ["training=smoke", "training.progress=off", "training.loss=logcosh"]
    shown = train(workdir, "--help", env=env).out
    assert "logcosh (log of the cosh), mse (" in shown
    done = train(workdir, *words, env=env)
    assert done.status == 0, done.err
    assert done.run.data.params["training.loss"] == "logcosh"
    best = done.run.data.metrics["best_val_loss"]
    assert f"best validation loss {best:.4e}" in done.out
    (report,) = (workdir / "reports").glob("*.html")
    assert "logcosh" in report.read_text(encoding="utf-8")
    study = train(workdir, "--multirun", *words, "hpo.num_trials=2", "hpo.reseeds=0", env=env)
    assert study.status == 0, study.err
    trials = [run for run in study.runs() if run.data.tags["run.kind"] == "trial"]
    assert [run.data.tags["engine"] for run in trials] == ["stacked"] * 2
