"""Measure the way from a file of 500,000 one-minute bars to the first epoch, beside what it takes in plain pandas.

Plain pandas reads the file with `read_csv` or `read_parquet` and computes the ten features of the default
configuration by its own rolling and exponential windows. Ours reads, checks, computes, splits, scales and
fingerprints. Both run in turn, each time in a process of its own, whose imports are made before the clock starts; the
leak gate is timed apart, beside the ten features alone. Memory is the peak above that of the imports.
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


def plain_features(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute the ten features as one writes them in pandas."""
    close, high, low, volume = (bars[name] for name in ("close", "high", "low", "volume"))
    change, before = close.diff(), close.shift()
    ret_1: pd.Series[float] = np.log(close / before)  # type: ignore[assignment]

    def wilder(values: pd.Series[float]) -> pd.Series[float]:
        seeded = values.copy()
        seeded.iloc[:14], seeded.iloc[14] = np.nan, values.iloc[1:15].mean()
        return seeded.ewm(alpha=1 / 14, adjust=False).mean()

    def z_score(values: pd.Series[float]) -> pd.Series[float]:
        return ((values - values.rolling(20).mean()) / values.rolling(20).std()).fillna(0.0)

    gain, loss = wilder(change.clip(lower=0)), wilder(-change.clip(upper=0))
    macd = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    true_range = pd.concat([high - low, (high - before).abs(), (low - before).abs()], axis=1).max(axis=1)
    return pd.DataFrame(
        {
            "ret_1": ret_1,
            "ret_5": np.log(close / close.shift(5)),
            "ret_20": np.log(close / close.shift(20)),
            "vol_20": ret_1.rolling(20).std(),
            "rsi_14": (gain / (gain + loss)).fillna(0.5),
            "macd_hist": (macd - macd.ewm(span=9, adjust=False).mean()) / close,
            "atr_14": wilder(true_range) / close,
            "boll_z_20": z_score(close),
            "volume_z_20": z_score(np.log(volume)),
            "clv": ((2 * close - high - low) / (high - low)).fillna(0.0),
        }
    )


def measure(file: Path, arm: str) -> dict[str, float]:
    """Go the way once, in this process."""
    from tradingbot_exp.config.schema import DataConfig
    from tradingbot_exp.data import prepare_data
    from tradingbot_exp.evaluation.leakage.gate import check_leaks

    def plain(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, float]:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        read = time.perf_counter()
        return frame, plain_features(frame), time.perf_counter() - read

    def ours(path: Path) -> PreparedData:
        return prepare_data(DataConfig(name="csv", source="csv", path=str(path)))

    (plain if arm == "pandas" else ours)(file.with_stem("few"))  # what is imported when it is first used
    before, started = peak(), time.perf_counter()
    if arm == "pandas":
        frame, features, apart = plain(file)
        seconds, held = time.perf_counter() - started, frame.memory_usage(deep=True).sum() / 2**20
        return {"seconds": seconds, "features s": apart, "features": float(features.size), "frame MB": held}
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
    features = median("pandas", "features s")
    print(f"  features alone {features:.2f} s, leak gate {gate:.2f} s, {gate / features:.2f} times (goal {GATE_GOAL})")
    print(f"  peak memory {median('ours', 'peak MB'):.0f} MB above the imports (goal {most:.0f})")


if __name__ == "__main__":
    main()
