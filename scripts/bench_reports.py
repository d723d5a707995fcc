"""Measure what reports cost: seconds to make them, what they weigh, and how long a browser takes to open them.

The study has 1,000 trials of 50 epochs in an SQLite store, written through MLflow as a study would; a fifth of
them are pruned, a few fail. The training report is that of a real default run. Imports are made before the
clock starts. Opening is timed in headless Chromium, from a ``file://`` address to the last figure drawn.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from tradingbot_exp import ExperimentReporter

CHROMIUM = "/usr/bin/chromium"
DRAWN = "html[data-drawn]"
EPOCHS = 50
GOALS = {"study made": 4.0, "study MB": 7.0, "training made": 1.5, "study opened": 3.0}
SPACE = {
    "model.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.batch_size": {"choices": [16, 32, 64]},
    "training.weight_decay": {"low": 1e-7, "high": 1e-2, "log": True},
}


def write_study(folder: Path, trials: int) -> None:
    """Write a finished study with that many trials into ``mlflow.db`` of a folder that has a default run."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs(["1"])
    experiment, params = run.info.experiment_id, dict(run.data.params)
    params |= {"hpo.num_trials": str(trials), "hpo.pruner": "median"}
    start = int(time.time() * 1000)
    parent = client.create_run(experiment, start, {"run.kind": "study", "mlflow.runName": "hpo-bench"}).info.run_id
    client.log_batch(parent, params=[Param(key, value) for key, value in params.items()])
    client.log_dict(parent, SPACE, "study/search_space.json")
    source = random.Random(0)  # noqa: S311 - made-up trials
    for number in range(trials):
        rate, decay = 10 ** source.uniform(-4, -2), 10 ** source.uniform(-7, -2)
        own = params | {
            "model.learning_rate": str(rate),
            "training.learning_rate": str(rate),
            "training.batch_size": source.choice(["16", "32", "64"]),
            "training.weight_decay": str(decay),
        }
        level = 1.4e-4 * (1 + 0.1 * (math.log10(rate) + 2.5) ** 2 + 0.05 * source.random())
        state = "failed" if source.random() < 0.02 else "pruned" if source.random() < 0.2 else "complete"
        last = {"complete": EPOCHS, "pruned": source.randrange(5, 30), "failed": 3}[state]
        losses = [level * (1 + 2 * math.exp(-epoch / 8)) for epoch in range(1, last + 1)]
        began = start + 700 * number
        points = [
            Metric(name, loss * (1 if name == "val_loss" else 1.3), began + 10 * epoch, epoch)
            for epoch, loss in enumerate(losses, start=1)
            for name in ("train_loss", "val_loss")
        ]
        points += [Metric(name, value, began, 0) for name, value in run.data.metrics.items() if state == "complete"]
        tags = {
            **{name: value for name, value in run.data.tags.items() if name.startswith(("data.", "model."))},
            "run.kind": "trial",
            "mlflow.runName": f"trial-{number:04d}",
            "mlflow.parentRunId": parent,
            "trial.number": str(number),
            "trial.state": state,
            "study.name": "bench",
        }
        if state == "complete":
            tags["trial.values"] = json.dumps([losses[-1]])
        child = client.create_run(experiment, began, tags).info.run_id
        entries = [Param(key, value) for key, value in own.items()]
        client.log_batch(child, points, entries, [RunTag("error", "RuntimeError: no")] if state == "failed" else [])
        client.set_terminated(child, "FAILED" if state == "failed" else "FINISHED", began + 600)
    client.set_terminated(parent, "FINISHED", start + 700 * trials)


def timed(make: Callable[[], Path], rounds: int) -> tuple[float, Path]:
    """Give the median seconds of a call, and what it gave."""
    seconds, path = [], Path()
    for _ in range(rounds):
        started = time.perf_counter()
        path = make()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), path


def opened(path: Path, rounds: int) -> float:
    """Give the median seconds from opening a report to its last figure."""
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for _ in range(rounds):
            page = browser.new_page()
            started = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_selector(DRAWN, state="attached", timeout=120_000)
            seconds.append(time.perf_counter() - started)
            page.close()
        browser.close()
    return statistics.median(seconds)


def main() -> None:
    """Make the store, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        train = [sys.executable, "-m", "tradingbot_exp.train", "training.progress=off", "tracking.report=false"]
        subprocess.run(train, cwd=folder, check=True, capture_output=True)
        write_study(folder, options.trials)
        os.chdir(folder)
        reporter = ExperimentReporter()
        reporter.generate_training_report("latest", "warm.html")  # imports
        found: dict[str, float] = {}
        found["training made"], training = timed(lambda: reporter.generate_training_report("latest"), options.rounds)
        found["study made"], study = timed(lambda: reporter.generate_hpo_report("latest"), options.rounds)
        found["training MB"], found["study MB"] = (path.stat().st_size / 1e6 for path in (training, study))
        if Path(CHROMIUM).exists():
            found["training opened"], found["study opened"] = (
                opened(path, options.rounds) for path in (training, study)
            )
    sys.stdout.write(f"{options.trials} trials of {EPOCHS} epochs, medians of {options.rounds} rounds\n")
    for name, value in sorted(found.items()):
        unit = "MB" if name.endswith("MB") else "s"
        goal = f"  (to reach: {GOALS[name]:g})" if name in GOALS else ""
        sys.stdout.write(f"  {name:<16}{value:8.2f} {unit}{goal}\n")


if __name__ == "__main__":
    main()
