"""Measure the way from a file of 500,000 one-minute bars to the first epoch, beside what it takes in plain pandas.

Plain pandas reads the file with `read_csv` or `read_parquet` and computes the ten features of the default
configuration. Ours reads, checks, computes, splits, scales and fingerprints. Both run in turn, each time in a process
of its own, whose imports are made before the clock starts; the leak gate is timed apart. Memory is the peak above that
of the imports.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

BARS = 500_000
TIMES_GOAL, GATE_GOAL, MEMORY_GOAL = 1.5, 1.0, 6.0


def write_bars(folder: Path, bars: int) -> list[Path]:
    """Write a random walk of one-minute bars as CSV and as Parquet."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(3e-4 * rng.standard_normal(bars)))
    opened = np.r_[100.0, close[:-1]]
    high, low = np.maximum(opened, close) * 1.0002, np.minimum(opened, close) * 0.9998
    frame = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close}).round(4)
    frame["volume"] = rng.integers(100, 90_000, bars)
    frame.index = pd.date_range("2020-01-01", periods=bars, freq="min", name="date")
    for name, part in (("bars", frame), ("few", frame[:2000])):
        part.to_csv(folder / f"{name}.csv")
        part.to_parquet(folder / f"{name}.parquet")
    return [folder / "bars.csv", folder / "bars.parquet"]


def peak() -> float:
    """Return the largest memory that this process has had, in MB; `ru_maxrss` begins with that of the parent."""
    return float(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))[0]) / 1024


def measure(file: Path, arm: str) -> dict[str, float]:
    """Go the way once, in this process."""
    from tradingbot_exp.config.schema import DataConfig
    from tradingbot_exp.data import prepare_data
    from tradingbot_exp.data.features import compute_features
    from tradingbot_exp.evaluation.leakage.gate import check_leaks

    def plain(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        return frame, compute_features(frame, DataConfig().features)

    def ours(path: Path) -> PreparedData:
        return prepare_data(DataConfig(name="csv", source="csv", path=str(path)))

    (plain if arm == "pandas" else ours)(file.with_stem("few"))  # what is imported when it is first used
    before, started = peak(), time.perf_counter()
    if arm == "pandas":
        frame, features = plain(file)
        held = frame.memory_usage(deep=True).sum() / 2**20
        return {"seconds": time.perf_counter() - started, "features": float(features.size), "frame MB": held}
    data = ours(file)
    prepared, memory = time.perf_counter(), peak() - before
    check_leaks(data)
    return {"seconds": prepared - started, "gate": time.perf_counter() - prepared, "peak MB": memory}


def main() -> None:
    """Measure both arms in turn, and print medians beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bars", type=int, default=BARS)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "ARM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), options.measure[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in write_bars(Path(folder), options.bars):
            found: dict[str, list[dict[str, float]]] = {"pandas": [], "ours": []}
            for _ in range(options.rounds):
                for arm, results in found.items():
                    command = [sys.executable, __file__, "--measure", str(file), arm]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    results.append(json.loads(done.stdout))
            report(file, found)


def report(file: Path, found: dict[str, list[dict[str, float]]]) -> None:
    """Print one file's medians, and their ratios beside the goals."""

    def median(arm: str, name: str) -> float:
        return statistics.median(result[name] for result in found[arm])

    plain, ours, gate = median("pandas", "seconds"), median("ours", "seconds"), median("ours", "gate")
    matrix = median("pandas", "features") * 4 / 2**20
    most = MEMORY_GOAL * matrix + median("pandas", "frame MB")
    print(f"{file.name}: pandas {plain:.2f} s, ours {ours:.2f} s, {ours / plain:.2f} times (goal {TIMES_GOAL})")
    print(f"  leak gate {gate:.2f} s more, {gate / plain:.2f} times (goal {GATE_GOAL})")
    print(f"  peak memory {median('ours', 'peak MB'):.0f} MB above the imports (goal {most:.0f})")


if __name__ == "__main__":
    main()
