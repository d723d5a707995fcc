"""The verdict on a study, read back from what the study recorded: for a person, and for a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tradingbot_exp.config.choices import Inputs, Word
from tradingbot_exp.errors import RunError
from tradingbot_exp.tracking.reading.artifacts import mapping_file
from tradingbot_exp.tracking.reading.records import VERDICT_FILE
from tradingbot_exp.tracking.store.kinds import kind_in_words
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store

if TYPE_CHECKING:
    from tradingbot_exp.tracking.store.types import Run

_WORDS, _INPUTS = get_args(Word), get_args(Inputs)


@dataclass(frozen=True)
class RecordedVerdict:
    """What a study said of its winner.

    Attributes
    ----------
    run_id, name : str
        The study's run; of a run without a verdict, that run.
    word : str
        ``real``, ``not shown`` or ``cannot be told``; the last where there is none.
    inputs : str
        What the leak gate knew of the winner's inputs: ``checked``, ``not checked`` or ``leaks``; ``not checked`` where
        nobody said.
    headline : str
    reasons : tuple of str
    whole : mapping
        All of ``study/verdict.json``; empty where there is none.
    """

    run_id: str
    name: str
    word: str
    inputs: str
    headline: str
    reasons: tuple[str, ...]
    whole: Mapping[str, Any]


def read_verdict(run: str = "latest", tracking_uri: str | Path | None = None) -> RecordedVerdict:
    """Read the verdict on a study, or on the study that a trial is of.

    Parameters
    ----------
    run : str
        See `find_run`; ``latest`` is the latest study.
    tracking_uri : str or Path, optional
        See `open_store`.

    Raises
    ------
    RunError
        There is no such run, or its verdict has other words.
    TrackingError
        The store cannot be read, or the verdict is damaged.
    """
    store = open_store(tracking_uri)
    asked = find_run(store, run, ["study"])
    parent = asked.data.tags.get("mlflow.parentRunId") if asked.data.tags.get("run.kind") == "trial" else None
    study = asked if parent is None else find_run(store, parent)
    run_id, name = str(study.info.run_id), str(study.info.run_name)
    found = store.artifact(study, VERDICT_FILE, mapping_file)
    best = study.data.tags.get("best.run_id")
    if asked is not study and best not in (None, asked.info.run_id):
        raise RunError(
            f"The verdict of the study {name} is on its winner, the run {best}, and not on the trial "
            f"{asked.info.run_id} ({asked.info.run_name}). Ask for the study, {run_id}, or for its winner."
        )
    if found is None or study.info.status != "FINISHED":  # an earlier start may have left a verdict on fewer trials
        return RecordedVerdict(run_id, name, "cannot be told", "not checked", _without(study), (), {})
    word, inputs = found.get("word"), found.get("inputs", "not checked")
    reasons = found.get("reasons", [])
    if not isinstance(reasons, list):
        raise RunError(f"{VERDICT_FILE} of the run {run_id} ({name}) is damaged: its reasons are {reasons!r}.")
    if word not in _WORDS or inputs not in _INPUTS:
        raise RunError(
            f"{VERDICT_FILE} of the run {run_id} ({name}) is damaged: its word is {word!r} and its inputs are "
            f"{inputs!r}; expected one of {', '.join(_WORDS)}, and of {', '.join(_INPUTS)}."
        )
    return RecordedVerdict(run_id, name, word, inputs, str(found.get("headline", "")), tuple(map(str, reasons)), found)


def _without(run: Run) -> str:
    kind = run.data.tags.get("run.kind", "")
    if kind == "study":
        if run.info.status == "FINISHED":
            return f"Cannot be told: the study keeps no {VERDICT_FILE}: an earlier version made it, or it was removed."
        state = "is still running" if run.info.status == "RUNNING" else "did not come to its end"
        return f"Cannot be told: the study {state}, and is judged then."
    return f"Cannot be told: it is {kind_in_words(kind)}, which has no verdict; a study has one."
