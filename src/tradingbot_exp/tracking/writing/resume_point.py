"""A run that may be resumed, and how far it is."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tradingbot_exp.tracking.writing.params_tags_metrics import metric_value

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config


log = logging.getLogger(__name__)

_LOSSES = ("train_loss", "val_loss")


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """A run that may be resumed.

    Attributes
    ----------
    run_id, name : str
    config : Config
        The run's own, with the keys that may be others as they were given.
    states : tuple of dict
        Of each fold begun, how far its training was: see `tradingbot_exp.training.state`.
    points : dict of (str, int) to float
        Every metric at every step that the run has.
    tags : dict of str to str
        As the run had them.
    status : str
        As the run had it.
    """

    run_id: str
    name: str
    config: Config
    states: tuple[dict[str, Any], ...]
    points: dict[tuple[str, int], float]
    tags: dict[str, str]
    status: str

    @property
    def where(self) -> str:
        """How far the run is, in words."""
        losses = self.states[-1]["training"]["history"]["val_loss"]
        said = f"epoch {len(losses)} of {self.config.training.epochs}"
        folds = 1 if self.config.evaluation.scheme == "chronological" else self.config.evaluation.folds
        networks, before = self.config.training.ensemble, len(self.states) - 1
        if folds > 1:
            said += f", fold {before % folds + 1} of {folds}"
        return said if networks == 1 else f"{said}, network {before // folds + 1} of {networks}"

    def has(self, name: str, step: int, value: float) -> bool:
        """Tell whether the run has a metric point already; of a loss that is another one now, say so."""
        if (name, step) not in self.points:
            return False
        known = metric_value(name, self.points[name, step])
        if known == value or (math.isnan(known) and math.isnan(value)):
            return True
        if name.endswith(_LOSSES):
            told = "%s of epoch %d was %r and is %r now: these are not the same bits. Is this another machine?"
            log.warning(told, name, step, known, value)
        return False

    def new_tags(self) -> dict[str, str]:
        """Return the tags that say that the run was resumed."""
        return {
            "resumed.count": str(int(self.tags.get("resumed.count", "0")) + 1),
            "resumed.from": self.where,
            "resumed.at": datetime.now(UTC).isoformat(timespec="seconds"),
            "resumed.after": f"{self.status} {self.tags.get('error', '')}".strip(),
        }
