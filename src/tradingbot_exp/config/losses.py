"""Every loss of this package, a row each, known without a heavy library.

Another loss is a row here: what is trained, checked, shown by ``--help``, recorded and reported follows from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradingbot_exp.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor

Target = Literal["any", "probability"]
"""What a loss is for."""


@dataclass(frozen=True)
class Loss:
    """What is known of a loss.

    Attributes
    ----------
    name : str
        As ``training.loss`` has it.
    label : str
        What it is, in a few words.
    function : str or callable
        A class of ``torch.nn`` that averages over all values, by its name. Or a function: with `gradient`, of output,
        target and `number` to a value for each output, of their shape; without, of a batch's output and target, both
        of shape (n, outputs), and its one-bar returns where it `takes_returns`, to a tensor of shape (). Or a class of
        `tradingbot_exp.training.batch_losses.BATCH_LOSSES`, by its name.
    gradient : callable or None
        Of a loss that is a mean over all values: (output, target, n, number) to the gradient of the mean over n values.
        Without it, autograd gives the gradient.
    target : str
        What it is for: ``any`` target, or the ``probability`` of a 0/1 target, of which the network's output is the
        logit.
    number : str
        The key of ``training`` that sets a number of the loss's own; empty for none. Tensors of it broadcast against
        the output.
    takes_returns : bool
        Whether a function's third argument is the one-bar log return of each row.
    in_order : bool
        Whether a batch is of consecutive rows, and of a panel of whole dates.
    family : str
        What it judges: ``forecast``; or ``return``, which needs one-bar returns, and is a ratio without a unit.
    """

    name: str
    label: str
    function: str | Callable[..., Tensor]
    gradient: Callable[[Tensor, Tensor, int, Any], Tensor] | None = None
    target: Target = "any"
    number: Literal["", "quantile", "pos_weight"] = ""
    takes_returns: bool = False
    in_order: bool = False
    family: Literal["forecast", "return"] = "forecast"

    @property
    def logits(self) -> bool:
        """Whether the network's output is the logit of the forecast."""
        return self.target == "probability"

    @property
    def neutral(self) -> float:
        """The forecast that takes no side: the baseline of whatever is trained by it."""
        return 0.5 if self.logits else 0.0


LOSSES: dict[str, Loss] = {
    row.name: row
    for row in (
        Loss("mse", "mean squared error", "MSELoss", lambda out, y, n, _: (out - y).mul_(2 / n)),
        Loss("mae", "mean absolute error", "L1Loss", lambda out, y, n, _: (out - y).sign_().div_(n)),
        Loss(
            *("huber", "squared below 1, absolute above", "HuberLoss"),
            lambda out, y, n, _: (out - y).clamp_(-1, 1).div_(n),
        ),
        Loss(
            *("bce", "binary cross-entropy, with data.target=direction", "BCEWithLogitsLoss"),
            lambda out, y, n, weight: (
                out.sigmoid().sub_(y) if weight is None else out.sigmoid().mul_((weight - 1) * y + 1).sub_(weight * y)
            ).div_(n),
            target="probability",
            number="pos_weight",
        ),
        # |e| / 2 + (1/2 - q) e is (1 - q) e above the target and -q e below (Koenker & Bassett 1978).
        Loss(
            *("pinball", "of the quantile training.quantile"),
            lambda out, y, q: (out - y).abs() / 2 + (0.5 - q) * (out - y),
            lambda out, y, n, q: (out - y).sign_().div_(2).add_(0.5 - q).div_(n),
            number="quantile",
        ),
        Loss("sharpe", "minus the Sharpe ratio of a batch", "SharpeLoss", in_order=True, family="return"),
    )
}
"""Every loss by name: those of this package, and those that plugins add."""
BUILT_IN = tuple(LOSSES)
"""The losses of this package."""
NUMBERS: dict[str, str] = {row.number: row.name for row in LOSSES.values() if row.number}
"""Keys of ``training`` that set a number of a loss's own, and the loss."""
LOSS_KEYS = ("training.loss", *(f"training.{number}" for number in NUMBERS))
"""Keys that decide what a loss counts in."""
_NO_NUMBER = (None, "null", "None")


def loss_title(params: Mapping[str, object]) -> str:
    """Name what a run's losses count in, such as ``mse``, or ``pinball, quantile 0.9``.

    Parameters
    ----------
    params : mapping of str
        Those of `LOSS_KEYS` are read; of a loss, or a number, that is not there nothing is said.
    """
    name = str(params.get("training.loss", "loss"))
    row = LOSSES.get(name)
    if row is None:
        return name
    if row.family == "return":
        return f"{name}, minus a Sharpe ratio"
    number = params.get(f"training.{row.number}")
    return name if number in _NO_NUMBER else f"{name}, {row.number} {number}"


def balance(y: Any) -> float:
    """Return negatives / positives of an array or a tensor of targets that are 0 or 1, or in between.

    Raises
    ------
    TrainingError
        There are none of one kind.
    """
    positives, negatives = float(y.sum()), float((1 - y).sum())
    if not (positives > 0 and negatives > 0):
        raise TrainingError(
            f"training.pos_weight=balanced needs train targets of both kinds; all {len(y)} are "
            f"{'0' if negatives else '1'}. Give a number, or null."
        )
    return negatives / positives


def check_numbers(loss: Loss, quantile: float, pos_weight: float | str | None) -> None:
    """Refuse a number that belongs to another loss.

    Raises
    ------
    ConfigError
        Names the number and its loss.
    """
    for number, given, default in (("quantile", quantile, 0.5), ("pos_weight", pos_weight, None)):
        if given != default and loss.number != number:
            its = NUMBERS[number]
            raise ConfigError(
                f"training.{number}={given} is for training.loss={its}: {loss.name} takes none. Leave it out."
            )
