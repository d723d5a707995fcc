"""Measure a panel of 500 symbols × 2,520 dates, from Parquet to the end of three epochs, beside a script by hand.

The script is pandas and torch as one would write them: ten features of one symbol after another, a split by date, the
scaler of the train rows, and a loop over shuffled batches of 1,024 with Adam and the validation loss after each epoch.
Ours is `train` with the same features, split, network and batches, everything recorded but the report; and then a study
of 24 such trials. Each runs in turn in a process of its own, whose imports are made, and whose store is there, before
the clock starts. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bench_files import peak

SYMBOLS, DATES, EPOCHS, BATCH, TRIALS = 500, 2_520, 3, 1_024, 24
TIMES_GOAL, STUDY_GOAL, MEMORY_GOAL = 1.5, 6.0, 3.0


def write_panel(folder: Path, symbols: int, dates: int) -> None:
    """Write random walks of daily bars as one Parquet file, and the first five symbols as another."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((dates, symbols)), axis=0))
    opened = np.vstack([np.full(symbols, 100.0), close[:-1]])
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.002,
        "low": np.minimum(opened, close) * 0.998,
        "close": close,
        "volume": rng.integers(100, 90_000, close.shape),
    }
    days = pd.bdate_range("2012-01-02", periods=dates)
    frame = pd.DataFrame({name: values.ravel().round(4) for name, values in columns.items()})
    frame.insert(0, "date", days.repeat(symbols))
    frame.insert(1, "symbol", np.tile([f"S{each:03}" for each in range(symbols)], dates))
    frame.to_parquet(folder / "panel.parquet", index=False)
    frame[frame["symbol"] < "S005"].to_parquet(folder / "few.parquet", index=False)


def features_of(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute the ten features, and the target, of one symbol."""
    close, high, low, volume = bars["close"], bars["high"], bars["low"], np.log(bars["volume"])
    log_close, change, before = np.log(close), close.diff(), close.shift()
    returns = log_close.diff()
    gain = change.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    loss = (-change).clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    macd = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    true_range = np.maximum(high, before) - np.minimum(low, before)
    return pd.DataFrame(
        {
            "date": bars["date"],
            "ret_1": returns,
            "ret_5": log_close.diff(5),
            "ret_20": log_close.diff(20),
            "vol_20": returns.rolling(20).std(),
            "rsi_14": gain / (gain + loss),
            "macd_hist": (macd - macd.ewm(span=9, adjust=False).mean()) / close,
            "atr_14": true_range.ewm(alpha=1 / 14, adjust=False).mean() / close,
            "boll_z_20": (close - close.rolling(20).mean()) / close.rolling(20).std(),
            "volume_z_20": (volume - volume.rolling(20).mean()) / volume.rolling(20).std(),
            "clv": (2 * close - high - low) / (high - low),
            "target": returns.shift(-1),
        }
    )[33:-1]


def by_hand(file: Path) -> float:
    """Read, compute, split, scale and train; return when the epochs were over."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    table = pd.concat([features_of(bars) for _, bars in pd.read_parquet(file).groupby("symbol")])
    table = table.sort_values("date", kind="stable")
    days = table["date"].unique()
    train = table[table["date"] < days[int(0.70 * len(days))]]
    val = table[(table["date"] >= days[int(0.70 * len(days))]) & (table["date"] < days[int(0.85 * len(days))])]
    names = list(table.columns[1:-1])
    mean, deviation = train[names].mean(), train[names].std(ddof=0)

    def tensors(rows: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
        scaled = ((rows[names] - mean) / deviation).to_numpy(np.float32)
        return torch.tensor(scaled), torch.tensor(rows[["target"]].to_numpy(np.float32))

    (X, y), (X_val, y_val) = tensors(train), tensors(val)
    model = nn.Sequential(nn.Linear(len(names), 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer, criterion = torch.optim.Adam(model.parameters(), lr=1e-3), nn.MSELoss()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            criterion(model(X[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            criterion(model(X_val), y_val).item()
    return time.perf_counter()


def ours(file: Path, trials: int) -> float:
    """Train, and return when the epochs were over; or search with so many trials."""
    from tradingbot_exp import train
    from tradingbot_exp.experiment import steps
    from tradingbot_exp.runtime.collector import collect_seldom

    collect_seldom()  # as the command does
    plain, over = steps.fit, [math.nan]

    def fit(jobs: Any) -> Any:
        histories = plain(jobs)
        over[0] = time.perf_counter()
        return histories

    steps.fit = fit
    words = ["data=csv", f"data.path={file}", "data.symbols=all", f"training.epochs={EPOCHS}", "tracking.report=false"]
    words += [f"training.batch_size={BATCH}", "training.progress=off"]
    if trials:
        words = ["--multirun", *words, f"hpo.num_trials={trials}", "hpo.reseeds=0"]
    sys.argv = ["bench", *words]
    if train.run(words):
        raise SystemExit(1)
    return over[0]


def measure(folder: Path, arm: str) -> dict[str, float]:
    """Go the way once, in this process: seconds to the end of the epochs and in all, and MB."""
    run = by_hand if arm == "by hand" else partial(ours, trials=TRIALS if arm == "study" else 0)
    run(folder / "few.parquet")  # what is imported when it is first used, and the store
    started = time.perf_counter()
    over = run(folder / "panel.parquet")
    return {"epochs": over - started, "whole": time.perf_counter() - started, "peak": peak()}


def main() -> None:
    """Measure all in turn, and print medians beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--dates", type=int, default=DATES)
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "ARM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), options.measure[1])))
        return
    results: dict[str, list[dict[str, float]]] = {"by hand": [], "ours": [], "study": []}
    with tempfile.TemporaryDirectory() as folder:
        write_panel(Path(folder), options.symbols, options.dates)
        for _ in range(options.rounds):
            for arm, found in results.items():
                command = [sys.executable, __file__, "--measure", folder, arm]
                with tempfile.TemporaryDirectory() as own:
                    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=own)
                found.append(json.loads(done.stdout.splitlines()[-1]))
    report(results)


def report(results: dict[str, list[dict[str, float]]]) -> None:
    """Print the medians, and their ratios beside the goals."""

    def median(arm: str, name: str) -> float:
        return statistics.median(result[name] for result in results[arm])

    hand, trial, whole = median("by hand", "epochs"), median("ours", "epochs"), median("ours", "whole")
    study = median("study", "whole")
    print(f"from Parquet to the end of {EPOCHS} epochs: by hand {hand:.1f} s, ours {trial:.1f} s, ", end="")
    print(f"{trial / hand:.2f} times (goal {TIMES_GOAL})")
    print(f"a run {whole:.1f} s, a study of {TRIALS} trials {study:.1f} s, ", end="")
    print(f"{study / whole:.2f} times (goal {STUDY_GOAL:g})")
    for arm in results:
        print(f"  peak memory, {arm}: {median(arm, 'peak') / 1024:.2f} GB (goal {MEMORY_GOAL:g})")


if __name__ == "__main__":
    main()
