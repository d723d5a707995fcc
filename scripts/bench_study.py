"""Measure what a trial costs beside its training: ours, with everything recorded, against an empty job.

Both sides have the same configuration and the basic launcher, as a stack has no trial to time by itself, run in turn
in processes of their own, and are timed from one job's start to the next. Ours counts composition, study storage, the
MLflow child run with all params, tags and 50 epochs of metrics, and the evaluation; the seconds inside `train_model`
are taken off. The other side is the plain Optuna sweeper with a job that does nothing. `--long` also compares trial
1,000 with trial 100, and weighs what 1,000 trials leave on disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTS: list[float] = []
TRAINING: list[float] = []


def empty(trials: int) -> None:
    """Run the plain sweeper over jobs that do nothing."""
    import hydra
    from omegaconf import DictConfig

    import tradingbot_exp.config.schema  # noqa: F401 - registers the schema
    from tradingbot_exp.config.paths import conf_dir
    from tradingbot_exp.train import TRUSTED

    @hydra.main(
        config_path=str(conf_dir()),
        config_name="config",
        execution_whitelist=TRUSTED,
    )
    def job(config: DictConfig) -> float:
        STARTS.append(time.perf_counter())
        return float(config.model.learning_rate)

    space = ["model.learning_rate=tag(log,interval(1e-4,1e-2))", "training.batch_size=16,32,64"]
    sweeper = ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.n_jobs=1"]
    sys.argv = ["bench", "--multirun", "hydra/launcher=basic", "~hydra.callbacks.tracking", *sweeper, *space]
    job()


def ours(trials: int, epochs: int) -> None:
    """Run a study, and note when each job starts and how long it trains."""
    from tradingbot_exp import train
    from tradingbot_exp.api import job
    from tradingbot_exp.training import loop

    plain_run, plain_train = job.run_job, loop.train_model

    def timed_run(*arguments: object) -> object:
        STARTS.append(time.perf_counter())
        return plain_run(*arguments)  # type: ignore[arg-type]

    def timed_train(*arguments: object, **options: object) -> object:
        started = time.perf_counter()
        try:
            return plain_train(*arguments, **options)  # type: ignore[arg-type]
        finally:
            TRAINING.append(time.perf_counter() - started)

    job.run_job = timed_run  # type: ignore[assignment]
    loop.train_model = timed_train  # type: ignore[assignment]
    words = [f"hpo.num_trials={trials}", f"training.epochs={epochs}", "training.progress=off"]
    sys.argv = ["bench", "--multirun", "hydra/launcher=basic", *words]
    train.run(sys.argv[1:])


def measure(side: str, trials: int, epochs: int) -> tuple[list[float], int]:
    """Run one side in a process of its own; give the seconds a trial, without its training, and the bytes written."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--side", side, "--trials", str(trials), "--epochs", str(epochs)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        weight = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds, weight


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 round in place of 3")
    parser.add_argument("--long", action="store_true", help="also a study of 1,000 trials")
    parser.add_argument("--side", choices=["empty", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, default=25, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=50, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        empty(options.trials) if options.side == "empty" else ours(options.trials, options.epochs)
        whole = [b - a for a, b in itertools.pairwise(STARTS)]
        spent = TRAINING[: len(whole)] or [0.0] * len(whole)
        print(json.dumps([total - inside for total, inside in zip(whole, spent, strict=True)]))
        return
    ratios = []
    for number in range(1 if options.quick else 3):
        base = statistics.median(measure("empty", 25, 0)[0][5:])
        cost = statistics.median(measure("ours", 25, 50)[0][5:])
        ratios.append(cost / base)
        told = f"empty job {1000 * base:.0f} ms, our trial {1000 * cost:.0f} ms, ratio {cost / base:.2f}"
        print(f"round {number + 1}: {told}")
    print(f"a trial's cost beside its training, to an empty job: {statistics.median(ratios):.2f} (median)")
    if options.long:
        costs, weight = measure("ours", 1001, 50)
        early, late = statistics.median(costs[80:120]), statistics.median(costs[960:1000])
        print(f"trial 100: {1000 * early:.0f} ms, trial 1,000: {1000 * late:.0f} ms, ratio {late / early:.2f}")
        print(f"all that the 1,001 trials left on disk: {weight / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
