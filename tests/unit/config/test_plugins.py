"""Metrics, losses and hooks that a user registers are used by every evaluation and by every training."""

from __future__ import annotations

import re
from functools import partial
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
from tradingbot_exp.config.plugins import ask_hooks, loss, metric, on_epoch, position, source
from tradingbot_exp.config.registries import EPOCH_HOOKS
from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data.features import compute_features, feature
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.data.sources import own_cells
from tradingbot_exp.data.synthetic import synthetic_bars
from tradingbot_exp.errors import ConfigError, TradingBotError, TrainingError
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.positions import Sizing
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.training.inputs import Data
from tradingbot_exp.training.losses import make_objective, validation_loss

RULES = Rules(lag=0, cost_bps=0.0, periods=252.0)
ACTUAL = np.log([1.01, 0.98, 1.03])
WEIGHT = torch.ones(2, requires_grad=True)
LAYOUT = Layout.of_one(3)
SMALL = [
    "data=synthetic",
    "data.synthetic.bars=300",
    "training.epochs=5",
    "training.progress=off",
    "tracking.report=false",
]


def test_a_metric_sees_target_forecast_and_the_strategys_net_returns() -> None:
    @metric("mean_return")
    def mean_return(actual: np.ndarray, forecast: np.ndarray, returns: np.ndarray | None) -> float:
        assert (actual == ACTUAL).all()
        forecast[:] = 0  # a copy: nobody else sees it
        return float("nan") if returns is None else float(returns.mean())

    found = validation_metrics(ACTUAL, ACTUAL, ACTUAL, 0.0, RULES, layout=LAYOUT)
    assert found.metrics["mean_return"] == pytest.approx((0.01 + 0.02 + 0.03) / 3)
    assert found.metrics["hit_rate"] == 1
    without = validation_metrics(ACTUAL, ACTUAL, None, 0.0, RULES, layout=LAYOUT)
    assert without.undefined["mean_return"] == "not defined, because its function gave no finite number"
    assert compose_config(["hpo.metric=val_mean_return"]).hpo.metric == "val_mean_return"


@pytest.mark.parametrize(
    ("result", "text"),
    [(lambda: 1 / 0, "raised ZeroDivisionError: division by zero"), (lambda: "high", "gave 'high'; expected a number")],
)
def test_a_metric_that_raises_or_gives_no_number_is_named(result: object, text: str) -> None:
    @metric("odd")
    def odd(actual: object, forecast: object, returns: object) -> object:
        return result()  # type: ignore[operator]

    with pytest.raises(TrainingError, match=rf"The metric val_odd \(.*odd\) {text}"):
        validation_metrics(ACTUAL, ACTUAL, ACTUAL, 0.0, RULES, layout=LAYOUT)


def test_a_metric_is_unknown_until_it_is_registered() -> None:
    with pytest.raises(ConfigError, match=r"hpo\.metric must be one of .*; got 'val_mean_return'"):
        compose_config(["hpo.metric=val_mean_return"])


@pytest.mark.parametrize(
    ("answer", "stops"),
    [(True, True), (np.float64(1) < 2, True), (False, False), (np.float64(1) > 2, False), (None, False), (0.3, False)],
)
def test_a_hook_stops_training_by_a_true_of_python_or_of_numpy(answer: object, stops: bool) -> None:
    @on_epoch
    def say(epoch: int, losses: dict[str, float], config: object) -> object:
        return answer

    assert ask_hooks(1, {}, compose_config()) is stops


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
    folds = train([*SMALL, "evaluation.scheme=walk_forward", "evaluation.folds=2"])
    assert [epoch for epoch, _, _ in seen[2:]] == [1, 2, 1, 2] and folds.status == "FINISHED"
    assert {"fold_1_final_loss", "fold_2_final_loss"} <= folds.metrics.keys()

    @on_epoch
    def fail(epoch: int, losses: dict[str, float], config: object) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        train(SMALL)
    assert load_run().status == "FAILED"


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
        assert forecast.dtype == given.dtype == torch.float32  # of all rows when training is over, too
        return function(forecast, given)  # type: ignore[no-any-return]

    words = [*SMALL, *words, "training.epochs=2", "tracking.report=false"]
    mine, right = train([*words, "training.loss=own"]), train([*words, f"training.loss={twin}"])
    assert mine.params["training.loss"] == "own"
    assert mine.metrics == pytest.approx(right.metrics, rel=1e-4, abs=1e-7)
    assert mine.predictions["forecast"].to_numpy() == pytest.approx(right.predictions["forecast"].to_numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (lambda out: out / 0 + 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda out: out.abs(), r"gave a tensor of shape \(3, 1\); expected is a tensor of shape \(\)"),
        (lambda out: torch.tensor(1.0), r"gave a tensor of shape \(\); expected is .* that follows from the forecast"),
        (lambda out: 1.0, r"gave 1\.0; expected is a tensor"),
        (lambda out: WEIGHT.sum(), r"gave a tensor that the forecast does not change; expected is a tensor of shape"),
        (
            lambda out: out.exp().add_(1).sum(),
            r"cannot be differentiated, as by changes in place: RuntimeError: one of",
        ),
        (lambda out: out.zero_().sum(), r"raised RuntimeError: a leaf Variable that requires grad"),
    ],
)
def test_a_loss_that_raises_or_gives_no_such_tensor_is_named(result: Any, text: str) -> None:
    loss("odd")(lambda forecast, target: result(forecast))
    out, y = torch.ones(1, 3, 1), torch.zeros(1, 3, 1)
    objective = make_objective("odd", [None], Data(out[0], y[0], out[0], y[0]))
    gradient, losses = objective.step(out, y, None, None)
    assert not gradient.any() and losses is not None and losses.isnan().all()
    assert re.match(rf"The loss odd \(.*<lambda>\) {text}", str(objective.errors[0]))


def options(forecast: Any, target: Any, /, power: float = 2.0, *, scale: float = 1.0) -> None: ...


@pytest.mark.parametrize(
    ("function", "returns"),
    [
        (lambda forecast, target: None, False),
        (lambda forecast, target, returns: None, True),
        (lambda forecast, target, market: None, True),
        (options, False),
        (mse_loss, False),
        (lambda forecast: None, None),
        (lambda forecast, target, returns=None: None, None),
        (lambda forecast, target, returns, dates: None, None),
        (lambda forecast, *others: None, None),
        (lambda forecast, target, *, returns: None, None),
        (max, None),
    ],
)
def test_a_loss_is_given_returns_if_it_has_to_be_and_what_leaves_it_open_is_refused(
    function: Any, returns: bool | None
) -> None:
    if returns is None:
        with pytest.raises(ConfigError, match="loss: 'mine' has "):
            loss("mine")(function)
        assert "mine" not in LOSSES
    else:
        loss("mine", in_order=True)(function)
        assert LOSSES["mine"].takes_returns is returns and LOSSES["mine"].in_order


class Distance:
    """A loss that is an object."""

    def __call__(self, forecast: Any, target: Any) -> None: ...


@pytest.mark.parametrize(("function", "place"), [(partial(options, power=3.0), "options"), (Distance(), "Distance")])
def test_partials_and_objects_that_can_be_called_are_registered_and_named_too(function: Any, place: str) -> None:
    assert EPOCH_HOOKS == {} and on_epoch(function) is function
    assert {f"{__name__}.{place}": function} == EPOCH_HOOKS
    for register in (loss, metric, position, source, feature):
        register("own")(function)
        register("own")(function)  # as when its module is loaded again
        with pytest.raises(ConfigError, match=rf"'own' is {__name__}\.{place} already"):
            register("own")(cross_entropy)
    for use in (
        lambda: validation_loss("own", None, WEIGHT, ACTUAL)(ACTUAL),
        lambda: validation_metrics(ACTUAL, ACTUAL, ACTUAL, 0.0, RULES, layout=LAYOUT),
        lambda: Rules(sizing=Sizing("own")).positions(ACTUAL, LAYOUT),
        lambda: own_cells(DataConfig(source="own")),
        lambda: compute_features(synthetic_bars(SyntheticConfig(bars=100)), ["own"]),
    ):
        with pytest.raises(TradingBotError, match=rf"own \({__name__}\.{place}\) (raised|gave)"):
            use()


def test_a_loss_has_a_name_of_its_own_and_probabilities_want_0_or_1_targets() -> None:
    with pytest.raises(ConfigError, match="'mse' is a loss of this package"):
        loss("mse")
    with pytest.raises(ConfigError, match="'My loss' is not a name for a loss"):
        loss("My loss")
    with pytest.raises(
        ConfigError, match=r"training\.loss must be one of mse, mae, huber, bce, pinball, sharpe; got 'odds'"
    ):
        compose_config(["training.loss=odds"])
    with pytest.raises(ConfigError, match=r"target of 'odds' must be one of any, probability; got 'probabilty'"):
        loss("odds", target="probabilty")  # type: ignore[arg-type]
    loss("odds", target="probability")(cross_entropy)
    assert compose_config(["training.loss=odds", "data.target=direction"]).training.loss == "odds"
    for word in ("odds", "bce"):
        with pytest.raises(
            ConfigError, match=rf"training\.loss={word} is for 0/1 targets, .*loss=mse, mae, huber, pinball or sharpe"
        ):
            compose_config([f"training.loss={word}"])
    table = ["data=table", "data.path=x.csv", "data.features=[a]", "data.target=y"]
    assert compose_config([*table, "training.loss=bce"]).training.loss == "bce"
    with pytest.raises(ConfigError, match=r"loss=odds is a plugin's.*data=table.*Use training\.loss=bce, or .* sharpe"):
        compose_config([*table, "training.loss=odds"])
