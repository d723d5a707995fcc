"""Which run may be put to which use: one table, and `require`, which refuses what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tradingbot_exp.errors import RunError
from tradingbot_exp.tracking.store.lookup import BACKTEST_RUN, ENSEMBLE, REFIT, TEST_RUN, find_run

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store

TRIES = ("training", "trial")
"""Kinds of runs that train one configuration."""
DELIVERED = "delivered.run_id"
"""Tag of a study: the run of its ensemble."""
MEMBERS = "ensemble.members"
"""Tag of both: the numbers of the trials that are averaged, best first, the winner with how many other seeds."""
JUDGEMENTS = (TEST_RUN, BACKTEST_RUN)
"""Kinds of runs that judge the forecasts of another run."""
STUDIES = ("study", "sweep", "null_study")
"""Kinds of runs that have such runs as their children."""

# The values of the tag ``run.kind``, in words; a run of another program has none.
_NAMES = {
    "": "a run of another program",
    "training": "a training run",
    "trial": "a trial",
    "study": "a study",
    "sweep": "a plain sweep",
    "null_study": "a null study",
    TEST_RUN: "a test-set evaluation",
    BACKTEST_RUN: "a backtest",
    REFIT: "a refit",
    ENSEMBLE: "an ensemble of trials",
}
# Which other run may have been meant, by kind: a tag, and what its value is.
_RELATIVES = {
    "trial": ("mlflow.parentRunId", "The study that it belongs to is"),
    "study": ("best.run_id", "Its best trial is"),
    "sweep": ("best.run_id", "Its best trial is"),
    ENSEMBLE: ("mlflow.parentRunId", "The study that it belongs to is"),
    REFIT: ("refit.run_id", "It is a refit of the run"),
    **dict.fromkeys(JUDGEMENTS, ("evaluated.run_id", "It evaluated the run")),
}


@dataclass(frozen=True)
class Use:
    """Something that is done with a run.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of runs that it is done with.
    right : str
        These, in words.
    takes_best : bool
        Whether a study stands for its best trial, or for its ensemble if it has one.
    is_over : bool
        Whether the run has to be over.
    key : str
        What a message begins with: the key that names the run, of one that the configuration names.
    hints : mapping of str to str
        What is right for a run of another kind; ``{id}`` stands for the beginning of its id.
    """

    kinds: tuple[str, ...]
    right: str
    takes_best: bool = False
    is_over: bool = False
    key: str = ""
    hints: Mapping[str, str] = field(default_factory=dict)


_WITH_MODEL = "a training run, a trial or a study"
_AGAIN = "Give its own command again, with --multirun and without training.resume"

EVALUATE = Use((*TRIES, ENSEMBLE), _WITH_MODEL, takes_best=True, is_over=True)
BACKTEST = Use((*TRIES, ENSEMBLE), _WITH_MODEL, takes_best=True, is_over=True)
PREDICT = Use((*TRIES, ENSEMBLE, REFIT), f"{_WITH_MODEL}, or a refit", takes_best=True)
TRAIN_ON_ALL = Use(TRIES, _WITH_MODEL, takes_best=True, is_over=True)
VERIFY = Use((*TRIES, ""), _WITH_MODEL, takes_best=True, is_over=True)
RESUME = Use(
    ("training",),
    "a training run",
    key="training.resume",
    hints={
        "trial": "A study is resumed by its own command, given again: `python -m tradingbot_exp doctor` names it.",
        "study": f"{_AGAIN}: trials that are complete stay.",
        "sweep": f"{_AGAIN}: its runs are made anew.",
    },
)
REPORT_TRAINING = Use(
    (*TRIES, ENSEMBLE, TEST_RUN, ""),
    "a training run",
    hints=dict.fromkeys(STUDIES, "`report hpo {id}` reports on it."),
)
REPORT_STUDY = Use(STUDIES, "a study", hints=dict.fromkeys(("training", ""), "`report training {id}` reports on it."))


def kind_in_words(kind: str) -> str:
    """Return what a run of a kind is called: ``a trial``."""
    return _NAMES.get(kind, f"a {kind.replace('_', ' ')}")


def require(store: Store, run: Run, use: Use) -> Run:
    """Return the run that may be put to a use: the run itself, or the ensemble or best trial of a study.

    Raises
    ------
    RunError
        It is of another kind, is not over, or is a study without a best trial.
    """
    tags, info = run.data.tags, run.info
    kind, run_id = tags.get("run.kind", ""), str(info.run_id)
    named = f"{f'{use.key}: the' if use.key else 'The'} run {run_id} ({info.run_name})"
    tag, relation = _RELATIVES.get(kind, ("", ""))
    relative = tags.get(tag)
    if use.takes_best and ENSEMBLE in use.kinds and tags.get(DELIVERED):
        relative = tags[DELIVERED]
    if use.takes_best and kind in ("study", "sweep") and relative:
        return find_run(store, relative)
    if use.takes_best and kind == "study":
        raise RunError(
            f"{named} is a study without a complete trial so far. Go on with it by the command that started it, or "
            "name a run of its own."
        )
    if kind not in use.kinds:
        hints = [use.hints.get(kind, "").format(id=run_id[:12]), f"{relation} {relative}." if relative else ""]
        raise RunError(" ".join([f"{named} is {kind_in_words(kind)}, not {use.right}.", *filter(None, hints)]))
    if use.is_over and info.status == "RUNNING":
        raise RunError(
            f"{named} is still RUNNING. Wait for its end; if its process is gone, `python -m tradingbot_exp doctor "
            "--fix` closes it."
        )
    return run
