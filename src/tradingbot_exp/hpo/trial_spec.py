"""One trial between the study that asks for it and what runs it: what is handed over, and what comes back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tradingbot_exp.tracking.run_names import result_tags, state_of

# Under Hydra's launchers the spec travels to the trial's job in this variable of `hydra.job.env_set`, on any machine.
TRIAL_VARIABLE = "TRADINGBOT_TRIAL"


@dataclass(frozen=True)
class TrialSpec:
    """What has to be known about a trial to run it.

    Attributes
    ----------
    study : str
        The study's name.
    number : int
        The trial's number, from 0.
    run_id, parent_id : str
        The child run, already created, and the study's run.
    storage : str
        Where the study is kept; empty unless the job reports to it for pruning.
    pruner : str
        `hpo.pruner`.
    watched : bool
        Whether somebody looks at the trial's progress on a terminal.
    rivals : list of list of float
        The values of the best trial so far or, of several objectives, of the Pareto front, and of as many trials as
        `hpo.ensemble` takes: the artifacts of a trial that is worse are not kept.
    values : dict of str to object
        What the trial tries, by configuration key; a job of Hydra's has them as overrides.
    """

    study: str
    number: int
    run_id: str
    parent_id: str
    storage: str = ""
    pruner: str = "none"
    watched: bool = False
    rivals: list[list[float]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def dumps(self) -> str:
        """Write all but the values as JSON."""
        plain = asdict(self)
        del plain["values"]
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> TrialSpec:
        """Read what `dumps` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Pruned:
    """What a job returns that its pruner stopped.

    Attributes
    ----------
    epoch : int
        The epoch, from 1, after which it stopped; of several seeds and folds, of the one that was trained then.
    value : float
        The objective there.
    """

    epoch: int
    value: float


def ending_tags(error: BaseException | None, outcome: Any) -> dict[str, str]:
    """Return the tags that say how a job ended: by an error, pruned, or with the objectives `outcome`."""
    if error is None and isinstance(outcome, Pruned):
        return result_tags("pruned")
    return result_tags(state_of(error), outcome if error is None else None)


@dataclass(frozen=True)
class Lost:
    """What a launcher gives for a job whose worker died; whether it had a result, its run says.

    Attributes
    ----------
    why : str
        The launcher's words.
    """

    why: str
