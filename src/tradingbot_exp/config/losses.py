"""Every loss of this package, a row each, known without a heavy library.

Another loss is a row here: what is trained, checked, shown by ``--help``, recorded and reported follows from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


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
        A class of ``torch.nn`` that averages over all values, by its name; or a function of the network's output and
        the target, both of shape (n, outputs), to a tensor of shape ().
    gradient : callable or None
        Of a class of ``torch.nn``: (output, target, n) to the gradient of the mean over n values. Only with it are
        networks trained as a stack.
    target : str
        What it is for: ``any`` target, or the ``probability`` of a 0/1 target, of which the network's output is the
        logit.
    """

    name: str
    label: str
    function: str | Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, int], Tensor] | None = None
    target: Literal["any", "probability"] = "any"

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
        Loss("mse", "mean squared error", "MSELoss", lambda out, y, n: (out - y).mul_(2 / n)),
        Loss("mae", "mean absolute error", "L1Loss", lambda out, y, n: (out - y).sign_().div_(n)),
        Loss(
            "huber", "squared below 1, absolute above", "HuberLoss", lambda out, y, n: (out - y).clamp_(-1, 1).div_(n)
        ),
        Loss(
            *("bce", "binary cross-entropy, with data.target=direction", "BCEWithLogitsLoss"),
            lambda out, y, n: out.sigmoid().sub_(y).div_(n),
            target="probability",
        ),
    )
}
"""Every loss by name: those of this package, and those that plugins add."""
BUILT_IN = tuple(LOSSES)
