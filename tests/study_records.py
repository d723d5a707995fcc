"""Studies for tests of their report: records made by hand, as `tradingbot_exp.tracking.reading.fetch` would."""

import math
import random
from datetime import UTC, datetime, timedelta

from tradingbot_exp.tracking.reading.records import StudyRecord, TrialRecord
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve, RunRecord

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
SPACE = {
    "model.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True, "step": None},
    "training.batch_size": {"choices": [16, 32, 64]},
}
PARAMS = {
    "seed": "42",
    "model.name": "mlp",
    "training.epochs": "10",
    "training.loss": "mse",
    "hpo.num_trials": "12",
    "hpo.metric": "val_loss",
    "hpo.direction": "minimize",
    "hpo.sampler": "tpe",
    "hpo.pruner": "median",
    "hpo.param_space.learning_rate.low": "0.0001",
    "hpo.param_space.batch_size": "[16, 32, 64]",
    "tracking.uri": "sqlite:///mlflow.db",
}
TAGS = {
    "study.name": "mlp-ibm-1234abcd",
    "study.sampler": "tpe",
    "study.at_once": "5",
    "data.fingerprint": "3513f4f719e9",
}
METRICS = {
    "val_mse": 9e-5,
    "val_zero_mse": 1e-4,
    "val_linear_mse": 1.2e-4,
    "val_sharpe": 0.5,
    "val_buy_hold_sharpe": 1.25,
    "best_val_loss": 8e-5,
}


NUMBERS = {
    "verdict_p": 0.31,
    "climb_p": 0.25,
    "spa_p": 0.2,
    "ic": 0.0314,
    "needed_ic": 0.15,
    "needed_bars": 11_321.0,
    "gain_on_neutral": 0.01,
    "gain_on_mean": -0.02,
    "scale": 0.4,
    "alpha": 0.123,
    "beta": 0.5,
    "lead": -0.01,
    "alpha_sharpe": 1.9,
    "psr": 0.97,
    "dsr": 0.4,
    "dsr_effective": 0.6,
    "effective_trials": 4.4,
    "pbo": 0.55,
    "min_track_bars": 300.0,
    "needed_sharpe": 2.6,
    "noise_sharpe": 1.4,
    "noise_sharpe_high": 2.1,
}
VERDICT = {
    "word": "not shown",
    "headline": "Not shown: selection bias suffices; in 31 % of searches there is as good a winner.",
    "reasons": [
        "Hansen's test gives p = 0.20.",
        "The Sharpe ratio of its alpha is -1.90 a year.",
    ],
    "metric": "val_loss",
    "direction": "minimize",
    "family": "forecast",
    "winner": 6,
    "count": 40,
    "tried": 12,
    "ever": 40,
    "planned": 12,
    "tested": 10,
    "bars": 484,
    "periods_per_year": 252.0,
    "horizon": 1,
    "numbers": {name: {"value": value, "problem": None} for name, value in NUMBERS.items()},
    "pbo_logits": [[-1.2, 40], [-0.1, 15], [0.0, 5], [0.9, 40]],
    "seeds": {
        "metric": "val_loss",
        "trial": 6,
        "chosen": 1.4e-4,
        "seeds": [43, 44, 45],
        "values": [1.5e-4, 1.7e-4],
        "failed": [45],
        "mean": 1.6e-4,
        "std": 1.4e-5,
        "min": 1.5e-4,
        "max": 1.7e-4,
        "ahead": 2,
    },
    "null_replays": {
        "metric": "val_loss",
        "trial": 6,
        "chosen": 1.4e-4,
        "values": [1.3e-4, 1.5e-4, 1.6e-4],
        "as_good": 1,
        "p": 0.5,
    },
}


def trial(number, values=(), state="complete", params=None, epochs=10, **fields):
    """Give one trial; `values` is a number or one an objective."""
    values = (values,) if isinstance(values, int | float) else tuple(values)
    last = values[0] if values and math.isfinite(values[0]) else 0.2
    given = {
        "number": number,
        "run_id": f"{number:04d}" + "ab" * 14,
        "state": state,
        "values": values,
        "params": {"model.learning_rate": 0.001, "training.batch_size": 32} if params is None else params,
        "started": START + timedelta(seconds=2 * max(number, 0)),
        "seconds": None if state == "running" else 1.5,
        "error": None,
        "duplicate_of": None,
        "curve": Curve(tuple(range(1, epochs + 1)), tuple(last * (1 + 1 / step) for step in range(1, epochs + 1))),
        "metrics": dict(METRICS) if state == "complete" else {},
    }
    return TrialRecord(**{**given, **fields})


def random_trials(count, epochs=10, seed=0, space=SPACE):
    """Give complete trials whose loss is lowest at a learning rate of 0.003, with pruned and failed ones among them."""
    source = random.Random(seed)  # noqa: S311 - made-up trials
    found = []
    for number in range(count):
        rate = 10 ** source.uniform(-4, -2)
        params = {"model.learning_rate": rate, "training.batch_size": source.choice([16, 32, 64])}
        if "training.weight_decay" in space:
            params["training.weight_decay"] = 10 ** source.uniform(-7, -2)
        level = 1.4e-4 * (1 + 0.1 * (math.log10(rate) + 2.5) ** 2 + 0.02 * source.random())
        state = "failed" if number % 40 == 13 else "pruned" if number % 6 == 5 else "complete"
        done = {"complete": epochs, "pruned": max(epochs // 3, 1), "failed": 1}[state]
        losses = tuple(level * (1 + 2 * math.exp(-8 * step / epochs)) for step in range(1, done + 1))
        found.append(
            trial(
                number,
                losses[-1] if state == "complete" else (),
                state,
                params,
                curve=Curve(tuple(range(1, done + 1)), losses),
                error="RuntimeError: no" if state == "failed" else None,
                seconds=source.uniform(0.5, 1.9),
            )
        )
    return found


def study(
    trials=None,
    space=SPACE,
    metrics=("val_loss",),
    directions=("minimize",),
    artifacts=None,
    verdict=None,
    openings=(),
    **fields,
):
    """Give the record of a study that is over, of 12 random trials unless told otherwise; `fields` are its run's."""
    trials = random_trials(12) if trials is None else trials
    given = {
        "run_id": "f" * 32,
        "name": "hpo-mlp-ibm-1234abcd",
        "experiment_id": "1",
        "experiment": "tradingbot",
        "kind": "study",
        "status": "FINISHED",
        "started": START,
        "ended": START + timedelta(seconds=60),
        "params": PARAMS,
        "tags": TAGS,
        "metrics": {},
    }
    run = RunRecord(**{**given, **fields})
    overrides = ("hpo.num_trials=12", "hpo.pruner=median", "training.epochs=10")
    artifacts = Artifacts(overrides=overrides) if artifacts is None else artifacts
    told = {"verdict": verdict, "openings": tuple(openings)}
    return StudyRecord(run, artifacts, tuple(metrics), tuple(directions), space, tuple(trials), (), **told)
