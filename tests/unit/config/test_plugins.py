"""Metrics, losses and hooks that a user registers are used by every evaluation and by every training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import mse_loss

from tradingbot_exp import load_run, train
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.plugins import ask_hooks, loss, metric, on_epoch
from tradingbot_exp.config.registries import EPOCH_HOOKS, OWN_METRICS
from tradingbot_exp.errors import ConfigError, TrainingError
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.training.losses import make_loss

RULES = Rules(lag=0, cost_bps=0.0, periods=252.0)
ACTUAL = np.log([1.01, 0.98, 1.03])
SMALL = ["data=synthetic", "data.synthetic.bars=300", "training.epochs=5", "training.progress=off"]


@pytest.fixture
def registered() -> Iterator[None]:
    """Take out again what a test puts in."""
    registries = (OWN_METRICS, EPOCH_HOOKS, LOSSES)
    before = [dict(registry) for registry in registries]  # type: ignore[call-overload]
    yield
    for registry, old in zip(registries, before, strict=True):
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


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("function", "target", "twin", "words"),
    [
        (mse_loss, "any", "mse", ["evaluation.scheme=walk_forward", "evaluation.folds=2"]),
        (cross_entropy, "probability", "bce", ["data.target=direction"]),
    ],
)
def test_a_loss_that_is_that_of_the_package_gives_its_numbers(
    function: Any, target: Any, twin: str, words: list[str], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)

    @loss("own", target=target)
    def own(forecast: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        assert forecast.shape == given.shape and forecast.shape[1:] == (1,)
        return function(forecast, given)  # type: ignore[no-any-return]

    words = [*SMALL, *words, "training.epochs=2", "tracking.report=false"]
    mine, right = train([*words, "training.loss=own"]), train([*words, f"training.loss={twin}"])
    assert mine.params["training.loss"] == "own"
    assert mine.metrics == pytest.approx(right.metrics, rel=1e-4, abs=1e-7)
    assert mine.predictions["forecast"].to_numpy() == pytest.approx(right.predictions["forecast"].to_numpy(), abs=1e-5)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("result", "text"),
    [
        (lambda out: out / 0 + 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda out: out.abs(), r"gave a tensor of shape \(3, 1\); expected is a tensor of shape \(\)"),
        (lambda out: torch.tensor(1.0), r"gave a tensor of shape \(\); expected is .* that follows from the forecast"),
        (lambda out: 1.0, r"gave 1\.0; expected is a tensor"),
    ],
)
def test_a_loss_that_raises_or_gives_no_such_tensor_is_named(result: Any, text: str) -> None:
    loss("odd")(lambda forecast, target: result(forecast))
    out = torch.ones(3, 1, requires_grad=True)
    with pytest.raises(TrainingError, match=rf"The loss odd \(.*<lambda>\) {text}"):
        make_loss("odd")(out, torch.zeros(3, 1))


@pytest.mark.usefixtures("registered")
def test_a_loss_has_a_name_of_its_own_and_probabilities_want_0_or_1_targets() -> None:
    with pytest.raises(ConfigError, match="'mse' is a loss of this package"):
        loss("mse")
    with pytest.raises(ConfigError, match="'My loss' is not a name for a loss"):
        loss("My loss")
    with pytest.raises(ConfigError, match=r"training\.loss must be one of mse, mae, huber, bce; got 'odds'"):
        compose_config(["training.loss=odds"])
    loss("odds", target="probability")(cross_entropy)
    assert compose_config(["training.loss=odds", "data.target=direction"]).training.loss == "odds"
    for word in ("odds", "bce"):
        with pytest.raises(ConfigError, match=rf"training\.loss={word} is for 0/1 targets, .*loss=mse, mae or huber"):
            compose_config([f"training.loss={word}"])
