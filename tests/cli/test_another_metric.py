"""Another metric is a row and a function: added so to a copy of the source, it is computed, searched and reported."""

from __future__ import annotations

import shutil
from pathlib import Path

from support import REPOSITORY, in_ci, train

ROW = '    Metric("bias", "mean error", "forecast", "error", 0, "forecast less actual", rivals=("linear",)),\n'
FUNCTION = '    "bias": lambda of: float(np.mean(of.forecast - of.actual)) if of.actual.size else float("nan"),\n'


def added(file: Path, after: str, line: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(after) == 1
    file.write_text(text.replace(after, after + line), encoding="utf-8")


@in_ci
def test_a_row_and_a_function_are_all_that_a_metric_takes(workdir: Path, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path_factory.mktemp("source")
    for folder in ("src", "conf"):
        shutil.copytree(REPOSITORY / folder, source / folder)
    package = source / "src" / "tradingbot_exp"
    added(package / "config" / "metrics.py", "_ROWS = (\n", ROW)
    added(
        package / "evaluation" / "metrics" / "functions.py",
        "FUNCTIONS: dict[str, Callable[[Sample], float]] = {\n",
        FUNCTION,
    )
    env = {"PYTHONPATH": str(source / "src")}
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
