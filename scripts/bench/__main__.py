"""Measure studies and single runs against what one would use instead: ``make bench``, ``make bench-quick``.

Every side is a whole command in a process of its own, imports included, and runs in turn with the others: the
same rows, network, search space, epochs and seed, the same things logged into a migrated SQLite store. What the
sides are is in ``side_*.py``; ours is the command line, with ``hydra/launcher=stacked`` at its default width (what that
costs the search: ``make bench-width``). What no peer has to be measured against is in ``parts.py``. Medians,
ratios and their ranges are printed, and written as ``reports/bench.json`` and ``reports/bench.html``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import parts
from common import LEARNING_RATE, WEIGHT_DECAY, Task

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # bench_training, bench_width
STUDY, DEFAULT, SINGLE = "study", "default study", "single run"
"""Kinds of work: a study of ranges, one of the default space, in which the batch size is searched, and one run."""
OURS = {STUDY: "ours, stacked", DEFAULT: "ours, stacked", SINGLE: "ours"}
PEERS = {
    STUDY: {
        "Optuna, MLflow callback": "side_optuna.py",
        "hydra-optuna-sweeper": "side_sweeper.py",
        "Ray Tune": "side_ray.py",
    },
    DEFAULT: {"Optuna, MLflow callback": "side_optuna.py"},
    SINGLE: {"Lightning": "side_lightning.py"},
}
PACKAGES = ("torch", "optuna", "mlflow", "hydra-core", "ray", "lightning", "optuna-integration")


def prepare(folder: Path) -> None:
    """Write the rows of the default data, the default configuration's params, and an empty migrated store."""
    import numpy as np

    from tradingbot_exp.config.compose import compose_config
    from tradingbot_exp.config.finalize import flatten
    from tradingbot_exp.experiment.data import load_data
    from tradingbot_exp.tracking.store.client import open_client

    config = compose_config([])
    data = load_data(config)
    rows = {
        "X_train": data.inputs(data.train),
        "y_train": data.targets(data.train),
        "X_val": data.inputs(data.val),
        "y_val": data.targets(data.val),
    }
    arrays = {name: np.asarray(values, dtype=np.float32).reshape(len(values), -1) for name, values in rows.items()}
    np.savez(folder / "rows.npz", **arrays)
    params = {key: str(value) for key, value in flatten(asdict(config)) if str(value)}
    (folder / "params.json").write_text(json.dumps(params))
    open_client(f"sqlite:///{folder / 'template.db'}")  # writes ahead, for all sides


def our_words(kind: str, task: Task) -> list[str]:
    """Give the overrides of our command."""
    common = [
        *(f"tracking.uri={task.store}", f"training.epochs={task.epochs}", f"seed={task.seed}"),
        *("training.progress=off", "tracking.report=false"),
    ]
    if kind == SINGLE:
        return common
    study = [*common, "--multirun", "hydra/launcher=stacked", "hpo.keep=none", f"hpo.num_trials={task.trials}"]
    if kind == DEFAULT:
        return study
    return [
        *(*study, "hpo=guide"),
        f"model.learning_rate=tag(log,interval({LEARNING_RATE[0]},{LEARNING_RATE[1]}))",
        f"training.weight_decay=tag(log,interval({WEIGHT_DECAY[0]},{WEIGHT_DECAY[1]}))",
    ]


def command(kind: str, side: str, task: Task) -> list[str]:
    """Give the command of a side."""
    if side == OURS[kind]:
        return [sys.executable, "-m", "tradingbot_exp.train", *our_words(kind, task)]
    options = (f"--{name}={value}" for name, value in asdict(task).items())
    return [sys.executable, str(HERE / PEERS[kind][side]), *options]


def seconds(kind: str, side: str, task: Task) -> float:
    """Run a side once, and see in the store that it did what it was asked for."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "mlflow.db"
        shutil.copy(task.data / "template.db", store)
        words = command(kind, side, replace(task, store=f"sqlite:///{store}"))
        started = time.perf_counter()
        done = subprocess.run(words, cwd=scratch, capture_output=True, text=True, check=False)
        took = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
        check(store, kind, side, task)
    return took


def check(store: Path, kind: str, side: str, task: Task) -> None:
    """End the benchmark if a side logged less than all runs, params and epochs."""
    import sqlite3

    wanted, epochs = 1 if kind == SINGLE else task.trials, task.epochs
    with sqlite3.connect(store) as database:
        counts = {
            "runs": database.execute("SELECT count(*) FROM runs").fetchone()[0] - (kind != SINGLE),
            "params": database.execute("SELECT count(*) FROM params").fetchone()[0] // 60,
            "epochs": database.execute("SELECT count(*) FROM metrics WHERE key = 'val_loss'").fetchone()[0] // epochs,
        }
    lacking = {name: count for name, count in counts.items() if count < wanted}
    if lacking:
        sys.exit(f"{side} logged too little for {wanted} run(s): {lacking}")


def measure(rounds: int, trials: int, epochs: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Run all sides in turn, `rounds` times; give the seconds of each. The default space has one round."""
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in PEERS}
    for number in range(rounds):
        for kind, peers in PEERS.items():
            if kind == DEFAULT and number:
                continue
            for side in (OURS[kind], *peers):
                space = "default" if kind == DEFAULT else "ranges"
                took = seconds(kind, side, Task(folder, "", trials, epochs, number, space))
                found[kind].setdefault(side, []).append(took)
                say(f"round {number + 1}: {kind}, {side}: {took:.1f} s")
    return found


def alone(rounds: int, trials: int, epochs: int, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Measure what no peer is needed for: see ``parts.py``."""
    costs, growths, loops = [], [], []
    for number in range(rounds):
        spent = []
        for times in (1, 10):
            scratch = folder / f"alone-{number}-{times}"
            task = Task(folder, f"sqlite:///{scratch}.db", times * trials, epochs, number)
            shutil.copy(folder / "template.db", f"{scratch}.db")
            spent.append(parts.timed(our_words(STUDY, task), scratch))
        costs.append(1000 * (spent[0]["loop"] - spent[0]["training"]) / trials)
        growths.append(spent[1]["whole"] / spent[0]["whole"] / 10)
        loops.append(spent[1]["loop"] / spent[0]["loop"] / 10)
        say(f"round {number + 1}: ours alone: {trials} trials {spent[0]}, {10 * trials} trials {spent[1]}")
    return [
        parts.described("a trial beside its training, everything logged", costs, "ms"),
        parts.described(f"a trial of {10 * trials}, times one of {trials}, whole command", growths, ""),
        parts.described(f"a trial of {10 * trials}, times one of {trials}, without start and end", loops, ""),
        *parts.loops(2 if quick else 5),
        *parts.values(3 if quick else 10, trials, epochs),
    ]


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(found: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Give medians, and the ratios of each round to ours."""
    rows: list[dict[str, Any]] = []
    for kind, sides in found.items():
        ours = sides[OURS[kind]]
        for side, took in sides.items():
            ratios = [theirs / own for theirs, own in zip(took, ours, strict=True)]
            ratio = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
            rows.append({"kind": kind, "side": side, "seconds": statistics.median(took), "ratio": ratio, "all": took})
    return rows


def write_page(rows: list[dict[str, Any]], single: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw the medians as bars, ours in another colour, over a table of what no peer is measured against."""
    import plotly.graph_objects as go

    from tradingbot_exp.plots.html import write_figure
    from tradingbot_exp.plots.style import ACTUAL, FORECAST, new_figure

    fig: go.Figure = new_figure("How long each side takes", title)
    fig.add_bar(
        y=[f"{row['kind']}: {row['side']}" for row in rows],
        x=[row["seconds"] for row in rows],
        orientation="h",
        textposition="outside",
        cliponaxis=False,
        marker_color=[FORECAST if row["side"] in OURS.values() else ACTUAL for row in rows],
        text=[f"{row['seconds']:.1f} s, {spread(row['ratio'])}" for row in rows],
    )
    fig.add_table(
        domain={"y": [0.0, 0.36]},
        columnwidth=[5, 1, 3],
        header={"values": ["Ours alone", "median", "range"], "align": "left"},
        cells={
            "values": [
                [row["what"] for row in single],
                [f"{row['median']:.2f} {row['unit']}" for row in single],
                [f"{row['low']:.2f} to {row['high']:.2f}{parts.tested(row)}" for row in single],
            ],
            "align": "left",
            "height": 26,
        },
    )
    fig.update_xaxes(title_text="seconds, whole command")
    fig.update_yaxes(autorange="reversed", domain=[0.5, 1.0])
    fig.update_layout(height=1000, margin_r=140)
    write_figure(fig, path, "Benchmark")


def spread(ratio: dict[str, float]) -> str:
    """Write a ratio for a reader."""
    return f"{ratio['median']:.1f}× [{ratio['low']:.1f}, {ratio['high']:.1f}]"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 trials and 1 round in place of 96 and 2")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    trials, rounds = options.trials or (12 if options.quick else 96), options.rounds or (1 if options.quick else 2)
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch))
        single = alone(rounds, trials, options.epochs, Path(scratch), options.quick)
        rows = table(measure(rounds, trials, options.epochs, Path(scratch)))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    versions = {name: version(name) for name in PACKAGES}
    title = f"{trials} trials of {options.epochs} epochs, {rounds} round(s); {machine}; {time.strftime('%Y-%m-%d')}"
    say(f"\n{title}\n{', '.join(f'{name} {number}' for name, number in versions.items())}")
    for row in rows:
        say(f"  {row['kind']:<15}{row['side']:<26}{row['seconds']:8.1f} s  {spread(row['ratio'])}")
    say("\n".join(map(parts.text, single)))
    reports = Path("reports")
    reports.mkdir(exist_ok=True)
    described = {"title": title, "versions": versions, "date": time.strftime("%Y-%m-%d"), "rows": rows, "alone": single}
    (reports / "bench.json").write_text(json.dumps(described, indent=2) + "\n")
    write_page(rows, single, title, reports / "bench.html")
    say("written: reports/bench.json, reports/bench.html")


if __name__ == "__main__":
    main()
