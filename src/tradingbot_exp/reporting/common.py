"""Parts that several reports share: cells, the line below the title, how a run ended, and how to make it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.reporting.numbers import MISSING, count, duration, moment
from tradingbot_exp.reporting.page import Block, Cell, Code, Details, Facts, Notice, Paragraph, Tone
from tradingbot_exp.tracking.records import Artifacts, Curve, RunRecord

if TYPE_CHECKING:
    import pandas as pd

OWN_KINDS = ("training", "trial", "study")
"""Of ``run.kind``: runs that record their code, data and command."""
_STATUS: dict[str, tuple[str, Tone]] = {
    "FINISHED": ("finished", "good"),
    "RUNNING": ("running", "warning"),
    "SCHEDULED": ("waiting", "warning"),
    "FAILED": ("failed", "bad"),
    "KILLED": ("interrupted", "bad"),
}


def number_cell(value: float | None, form: Callable[[float | None], str], tone: Tone = "plain") -> Cell:
    """Show a number in a form, and sort by the number itself; one that is missing or NaN is muted and sorts last."""
    if value is None or math.isnan(value):
        return Cell(MISSING, tone="muted")
    return Cell(form(value), sort=value, tone=tone)


def numbers_of(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Read a column of a table as numbers; what is none becomes NaN."""
    import pandas as pd

    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def header_facts(run: RunRecord) -> list[tuple[str, Cell]]:
    """Give the line below the title: status, experiment, start, duration."""
    return [
        ("Status", status_cell(run.status)),
        ("Experiment", Cell(run.experiment or MISSING)),
        ("Started", Cell(moment(run.started), sort=run.started.timestamp())),
        (
            "Took",
            Cell("still running", tone="warning") if run.status == "RUNNING" else number_cell(run.seconds, duration),
        ),
    ]


def status_cell(status: str) -> Cell:
    """Show a run's status in a word."""
    word, tone = _STATUS.get(status, (status.lower() or "unknown", "plain"))
    return Cell(word, tone=tone)


def ending_blocks(run: RunRecord, traceback: str | None) -> list[Block]:
    """Say how a run that did not finish ended, or how far it is, with its error and the folded traceback."""
    far = _how_far(run)
    if run.status == "RUNNING":
        text = f"This run is still running ({far}): its numbers will change. If its process is gone, "
        return [Notice(text + "python -m tradingbot_exp doctor says so and can close it.")]
    if run.status not in ("FAILED", "KILLED"):
        return []
    error = run.tags.get("error") or (traceback or "").strip().rpartition("\n")[2]
    verb = "failed" if run.status == "FAILED" else "was interrupted"
    blocks: list[Block] = [Notice(f"This run {verb} {far}{f': {error}' if error else '.'}", "bad")]
    if traceback:
        blocks.append(Details("Traceback", [Code(traceback)]))
    elif not error:
        blocks.append(Paragraph("No error is on record."))
    return blocks


def problem_notices(artifacts: Artifacts) -> list[Notice]:
    """Name the artifacts that are there and cannot be read."""
    return [Notice(f"Not readable, and so left out: {problem}") for problem in artifacts.problems]


def command_of(overrides: Sequence[str]) -> str:
    """Write the command that composes the same configuration, quoted for a POSIX shell."""
    return shlex.join(["python", "-m", "tradingbot_exp.train", *overrides])


def code_cell(run: RunRecord) -> Cell:
    """Show the commit that a run was made from, and whether the work tree had changes beyond it."""
    commit = run.tags.get("mlflow.source.git.commit")
    if not commit:
        why = ": the run did not start in a git work tree" if run.kind in OWN_KINDS else ""
        if run.kind == "trial" and run.parent_id:
            why = f" by itself: what all trials share is on record with their study, {run.parent_id}"
        return Cell(f"not recorded{why}", tone="muted")
    branch = run.tags.get("mlflow.source.git.branch")
    where = commit + (f" on {branch}" if branch else "")
    if run.tags.get("git.dirty") == "true":
        return Cell(f"{where}, with uncommitted changes", tone="warning")
    return Cell(where)


def again_blocks(run: RunRecord, artifacts: Artifacts, command: str | None = None) -> list[Block]:
    """Say how to get a run again: command, commit, patch, data, and the command that checks it.

    Parameters
    ----------
    run : RunRecord
    artifacts : Artifacts
    command : str, optional
        That of a study; it stands for the command of a single run, and for the one that checks it.
    """
    blocks: list[Block] = []
    commit, state = run.tags.get("mlflow.source.git.commit"), run.tags.get("git.dirty")
    dirty = state == "true"
    if commit:
        steps = [f"git checkout {shlex.quote(commit)}"]
        if dirty:
            patch = shlex.join(["mlflow", "artifacts", "download", "-r", run.run_id, "-a", "code/uncommitted.patch"])
            steps.append(f'git apply "$({patch})"')
        blocks.append(Code("\n".join(steps), "The code"))
    if command:
        blocks.append(Code(command, "The command"))
    elif command is not None or artifacts.overrides is None:
        blocks.append(Notice("The command of this run is not recorded.", "muted"))
    else:
        blocks.append(Code(command_of(artifacts.overrides), "The command"))
    if command is None and run.kind in OWN_KINDS:
        blocks.append(Code(f"python -m tradingbot_exp reproduce {run.run_id} --verify", "Or: train again and compare"))
    environment = artifacts.environment or {}
    patch = "code/uncommitted.patch, in this run's artifacts" if dirty else "none: the tree was clean"
    facts = [
        ("Commit", code_cell(run)),
        ("Patch", _recorded(patch if state else None)),
        ("Data fingerprint", _recorded(run.tags.get("data.fingerprint"))),
        ("Configuration hash", _recorded(run.tags.get("config.sha256"))),
        ("Seed", _recorded(run.params.get("seed"))),
        ("Machine", _recorded(_machine(environment))),
        ("Run id", Cell(run.run_id)),
    ]
    if not commit:
        facts.pop(1)
    return [*blocks, Facts(facts)]


def made_line(now: datetime | None = None) -> str:
    """Say when a report was made, and by what."""
    from tradingbot_exp import __version__

    return f"Made {moment(now or datetime.now(UTC))} by tradingbot_exp {__version__}"


def _recorded(text: str | None) -> Cell:
    return Cell(text) if text else Cell("not recorded", tone="muted")


def _machine(environment: object) -> str | None:
    """Name Python, torch and the processor in a line, as far as ``environment.json`` does."""
    if not isinstance(environment, dict):
        return None

    def get(block: str, key: str) -> object:
        part = environment.get(block)
        return part.get(key) if isinstance(part, dict) else None

    parts = [
        f"{name} {value}" if name else str(value)
        for name, value in (
            ("Python", get("python", "version")),
            ("torch", get("torch", "version")),
            ("", get("hardware", "cpu")),
            ("", get("platform", "system")),
        )
        if value
    ]
    return ", ".join(parts) or None


def _how_far(run: RunRecord) -> str:
    """Say up to which epoch the losses go; an epoch without a finite loss is where it went wrong."""
    planned = run.params.get("training.epochs", "")
    of = f" of {planned}" if planned.isdecimal() else ""
    last = max((curve.steps[-1] for curve in _losses(run) if len(curve)), default=None)
    running = run.status == "RUNNING"
    if last is None:
        return "in its first epoch" if running else "before its first epoch was over"
    if running:
        return f"{count(last, 'epoch')}{of} done"
    diverged = any(len(curve) and not math.isfinite(curve.values[-1]) for curve in _losses(run))
    if diverged:
        return f"at epoch {last}{of}"
    if "final_loss" in run.metrics or str(last) == planned:
        return f"after training, all {count(last, 'epoch')} done"
    return f"at epoch {last + 1}{of}"


def _losses(run: RunRecord) -> list[Curve]:
    return [run.curves[name] for name in ("train_loss", "val_loss") if name in run.curves]
