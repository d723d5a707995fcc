"""What no other side has to be measured against: a trial's cost beside its training, growth, loops, values found."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STACK = 128
"""Models of the stack whose training loop is measured."""


def timed(words: Sequence[str], folder: Path) -> dict[str, float]:
    """Run our study once under a clock, in a folder of its own.

    Returns
    -------
    dict of str to float
        Seconds: ``whole`` command, ``loop`` over all trials, and ``training`` in it.
    """
    folder.mkdir()
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / "timed_study.py"), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"our study failed:\n{done.stderr[-3000:]}")
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return spent | {"whole": time.perf_counter() - started}


def loops(rounds: int) -> list[dict[str, Any]]:
    """Measure training loops on one and on two threads against a plain DataLoader loop, itself on one thread.

    That is PyTorch's tutorial's with its default Adam, and at its best with a fused one, like that of the other sides.
    """
    import bench_training as bench
    import torch

    wanted = {f"train_stack, {STACK} models": f"training loop, {STACK} models", bench.OURS: "training loop, one model"}
    rows, data = [], bench.make_data()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        speeds = bench.measure(data, rounds, 20)
        for (name, label), base in product(wanted.items(), (bench.BASE, bench.FUSED)):
            ratios = [ours / plain for ours, plain in zip(speeds[name], speeds[base], strict=True)]
            rows.append(described(f"{label}, {threads} thread(s), times the speed of: {base}", ratios, ""))
    return rows


def values(seeds: int, trials: int, epochs: int) -> list[dict[str, Any]]:
    """Compare the value found at our width with that of one trial after another, seed by seed."""
    from dataclasses import replace

    import bench_width as bench
    import optuna

    from hydra_plugins.tradingbot_exp.stacked import StackedLauncherConf
    from tradingbot_exp.config.compose import compose_config

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = compose_config([f"hpo.num_trials={trials}", f"training.epochs={epochs}"])
    config = replace(config, training=replace(config.training, progress="off"))
    space, plans = bench.SearchSpace.parse(bench.SPACES["ranges"]), ("1", str(StackedLauncherConf.width))
    searches = [bench.search(replace(config, seed=seed), space, plan) for plan in plans for seed in range(seeds)]
    ended = iter(bench.run(searches))
    row = bench.compare({plan: [next(ended) for _ in range(seeds)] for plan in plans})[1]
    return [
        {
            "what": f"value found, {plans[1]} trials at once against one after another, {seeds} seeds: difference",
            "unit": "%",
            "median": row["change"],
            "low": row["low"],
            "high": row["high"],
            "p": row["t"],
            "p_wilcoxon": row["wilcoxon"],
        }
    ]


def described(what: str, found: Sequence[float], unit: str) -> dict[str, Any]:
    """Lay a measured figure out as a row: its median and range."""
    return {
        "what": what,
        "unit": unit,
        "median": statistics.median(found),
        "low": min(found),
        "high": max(found),
        "all": list(found),
    }


def text(row: dict[str, Any]) -> str:
    """Write a row for a reader."""
    unit = f" {row['unit']}" if row["unit"] else ""
    return f"  {row['what']}: {row['median']:.2f}{unit} [{row['low']:.2f}, {row['high']:.2f}]{tested(row)}"


def tested(row: dict[str, Any]) -> str:
    """Write the p-values of a row that has them."""
    return f"; p {row['p']:.2f} (t), {row['p_wilcoxon']:.2f} (Wilcoxon)" if "p" in row else ""
