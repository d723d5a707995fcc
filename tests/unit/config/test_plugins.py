"""Metrics and hooks that a user registers are used by every evaluation and by every training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tradingbot_exp import load_run, train
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.plugins import EPOCH_HOOKS, OWN_METRICS, ask_hooks, metric, on_epoch
from tradingbot_exp.errors import ConfigError, TrainingError
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.rules import Rules

RULES = Rules(lag=0, cost_bps=0.0, periods=252.0)
ACTUAL = np.log([1.01, 0.98, 1.03])
SMALL = ["data=synthetic", "data.synthetic.bars=300", "training.epochs=5", "training.progress=off"]


@pytest.fixture
def registered() -> Iterator[None]:
    """Take metrics and hooks out again that a test puts in."""
    before = dict(OWN_METRICS), dict(EPOCH_HOOKS)
    yield
    for registry, old in zip((OWN_METRICS, EPOCH_HOOKS), before, strict=True):
        registry.clear()
        registry.update(old)


@pytest.mark.usefixtures("registered")
def test_a_metric_sees_target_forecast_and_the_strategys_net_returns() -> None:
    @metric("mean_return")
    def mean_return(actual: np.ndarray, forecast: np.ndarray, returns: np.ndarray | None) -> float:
        assert (actual == ACTUAL).all()
        forecast[:] = 0  # a copy: nobody else sees it
        return float("nan") if returns is None else float(returns.mean())

    found = validation_metrics(ACTUAL, ACTUAL, ACTUAL, 0.0, RULES)
    assert found.metrics["mean_return"] == pytest.approx((0.01 + 0.02 + 0.03) / 3)
    assert found.metrics["hit_rate"] == 1
    without = validation_metrics(ACTUAL, ACTUAL, None, 0.0, RULES)
    assert without.undefined["mean_return"] == "not defined, because its function gave no finite number"
    assert compose_config(["hpo.metric=val_mean_return"]).hpo.metric == "val_mean_return"


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("result", "text"),
    [(lambda: 1 / 0, "raised ZeroDivisionError: division by zero"), (lambda: "high", "gave 'high'; expected a number")],
)
def test_a_metric_that_raises_or_gives_no_number_is_named(result: object, text: str) -> None:
    @metric("odd")
    def odd(actual: object, forecast: object, returns: object) -> object:
        return result()  # type: ignore[operator]

    with pytest.raises(TrainingError, match=rf"The metric val_odd \(.*odd\) {text}"):
        validation_metrics(ACTUAL, ACTUAL, ACTUAL, 0.0, RULES)


def test_a_metric_is_unknown_until_it_is_registered() -> None:
    with pytest.raises(ConfigError, match=r"hpo\.metric must be one of .*; got 'val_mean_return'"):
        compose_config(["hpo.metric=val_mean_return"])


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("answer", "stops"),
    [(True, True), (np.float64(1) < 2, True), (False, False), (np.float64(1) > 2, False), (None, False), (0.3, False)],
)
def test_a_hook_stops_training_by_a_true_of_python_or_of_numpy(answer: object, stops: bool) -> None:
    @on_epoch
    def say(epoch: int, losses: dict[str, float], config: object) -> object:
        return answer

    assert ask_hooks(1, {}, compose_config()) is stops


@pytest.mark.usefixtures("registered")
def test_a_hook_sees_each_epoch_and_may_stop_the_training_or_fail_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    seen: list[tuple[int, list[str], int]] = []

    @on_epoch
    def watch(epoch: int, losses: dict[str, float], config: object) -> bool:
        seen.append((epoch, sorted(losses)[-2:], config.training.epochs))  # type: ignore[attr-defined]
        return epoch == 2

    run = train(SMALL)
    assert seen == [(1, ["train_loss", "val_loss"], 5), (2, ["train_loss", "val_loss"], 5)]
    assert len(run.history) == 2 and run.status == "FINISHED"

    @on_epoch
    def fail(epoch: int, losses: dict[str, float], config: object) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        train(SMALL)
    assert load_run().status == "FAILED"
