"""Measure what tracking adds to training: the default 50-epoch run on IBM's bars, with and without MLflow.

Both sides run in turn in one process, on a fresh SQLite store; what is counted is the per-epoch metrics, all
the way into the store. Artifacts have a cost of their own, which is printed beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from tradingbot_exp import EnhancedMLflowLogger, ExperimentOrganizer, train_model
from tradingbot_exp.config.schema import DataConfig, ModelConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.models.registry import build_model
from tradingbot_exp.training.optim import make_optimizer

EPOCHS = 50


def seconds(data: PreparedData, logger: EnhancedMLflowLogger | None) -> float:
    """Train the default network once and give the seconds that it took, until the store has every metric."""
    model = build_model(ModelConfig(learning_rate=0.001), len(data.feature_names), 1)
    optimizer = make_optimizer("Adam", model.parameters(), 0.001)
    train, val = data.train, data.val
    started = time.perf_counter()
    train_model(
        model,
        data.inputs(train),
        data.targets(train),
        data.inputs(val),
        data.targets(val),
        optimizer,
        None,
        EPOCHS,
        logger,
        seed=42,
    )
    if logger is not None:
        logger.run.flush()
    return time.perf_counter() - started


def main() -> None:
    """Print medians and the ratio with its range over rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 rounds in place of 15")
    rounds = 5 if parser.parse_args().quick else 15
    data = prepare_data(DataConfig())
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        names = SimpleNamespace(name="bench", run_name=None, description=None, tags={})
        place = SimpleNamespace(uri=uri, on_error="raise")
        organizer = ExperimentOrganizer(SimpleNamespace(experiment=names, tracking=place))
        plain, tracked = [], []
        for number in range(rounds + 1):
            without = seconds(data, None)
            with organizer.start_run():
                logged = seconds(data, EnhancedMLflowLogger())
            if number:  # the first round warms both up
                plain.append(without)
                tracked.append(logged)
    ratios = sorted(b / a for a, b in zip(plain, tracked, strict=True))
    print(f"{EPOCHS} epochs of the default network on IBM's bars, {rounds} rounds in turn, SQLite store")
    print(f"  without tracking  {statistics.median(plain):.3f} s (median)")
    print(f"  with tracking     {statistics.median(tracked):.3f} s (median)")
    print(f"  ratio             {statistics.median(ratios):.3f} (median), {ratios[0]:.3f} to {ratios[-1]:.3f}")


if __name__ == "__main__":
    main()
