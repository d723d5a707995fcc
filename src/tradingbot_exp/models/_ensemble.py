"""An ensemble: networks of one kind that were trained with different seeds, and forecast their mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class Ensemble(nn.Module):
    """The mean of its members' forecasts, as a network of its own.

    Parameters
    ----------
    members : sequence of N nn.Module
        They take the same input, (n, F) or (n, L, F), and give outputs of one shape.
    logits : bool
        Whether outputs are logits: then probabilities are averaged, and the output is the logit of their mean.

    Attributes
    ----------
    members : nn.ModuleList
    sequential : bool
        As the members have it: see `tradingbot_exp.models.registry.register`.
    """

    def __init__(self, members: Sequence[nn.Module], logits: bool = False) -> None:
        super().__init__()
        self.members, self._logits = nn.ModuleList(members), logits
        self.sequential = bool(getattr(members[0], "sequential", False))

    def forward(self, X: Tensor) -> Tensor:
        """Return what a single network with the mean forecast would give, of the shape of a member's output."""
        outputs = torch.stack([member(X) for member in self.members])
        if not self._logits:
            return outputs.mean(dim=0)
        # The logit of mean(p) is log Σp − log Σ(1 − p): nothing is lost where probabilities are close to 0 or 1.
        return torch.logsumexp(logsigmoid(outputs), dim=0) - torch.logsumexp(logsigmoid(-outputs), dim=0)


def members_of(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return the networks of an ensemble; of any other model itself."""
    return tuple(model.members) if isinstance(model, Ensemble) else (model,)
