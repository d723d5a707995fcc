"""Parts that several reports share: cells, the line below the title, how a run ended, and how to make it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.plots.numbers import MISSING, count, duration, moment
from tradingbot_exp.reporting.page.page import Block, Cell, Code, Details, Facts, Notice, Paragraph, Tone
from tradingbot_exp.runtime.package import VERSION
from tradingbot_exp.tracking.reading.artifacts import PATCH
from tradingbot_exp.tracking.reading.run_context import Surroundings
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve, RunRecord
from tradingbot_exp.tracking.store.places import run_page

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
        ("Status", _ending_cell(run)),
        ("Experiment", Cell(run.experiment or MISSING)),
        ("Started", Cell(moment(run.started), sort=run.started.timestamp())),
        (
            "Took",
            Cell("still running", tone="warning") if run.status == "RUNNING" else number_cell(run.seconds, duration),
        ),
    ]


def _ending_cell(run: RunRecord) -> Cell:
    """Show a run's status, and of a trial how it ended for its study, where that says more."""
    state = run.tags.get("trial.state")
    if run.status != "FINISHED" or state in (None, "complete"):
        return status_cell(run.status)
    return Cell(f"{state} by its study" if state == "pruned" else str(state), tone="warning")


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


def run_link(run: RunRecord, other_id: str) -> str | None:
    """Give the address of a run's page, in the experiment of `run`; None where the store is no server."""
    served = run.store.startswith(("http://", "https://"))
    return run_page(run.store, run.experiment_id, other_id) if served else None


def command_of(overrides: Sequence[str]) -> str:
    """Write the command that composes the same configuration, quoted for a POSIX shell."""
    return shlex.join(["python", "-m", "tradingbot_exp.train", *overrides])


def code_cell(made: Surroundings) -> Cell:
    """Show the commit that a run was made from, and whether the work tree had changes beyond it."""
    if not made.commit:
        why = ": the run did not start in a git work tree" if made.run.kind in OWN_KINDS else ""
        return Cell(f"not recorded{why}", tone="muted")
    branch = made.tag("mlflow.source.git.branch")
    where = made.commit + (f" on {branch}" if branch else "")
    return Cell(f"{where}, with uncommitted changes", tone="warning") if made.is_dirty else Cell(where)


def again_blocks(made: Surroundings, command: str | None = None) -> list[Block]:
    """Say how to get a run again: command, commit, patch, data, and the command that checks it.

    Parameters
    ----------
    made : Surroundings
    command : str, optional
        That of a study; it stands for the command of a single run, and for the one that checks it.
    """
    run = made.run
    blocks: list[Block] = []
    if made.commit:
        steps = [f"git checkout {shlex.quote(made.commit)}"]
        if made.patch is not None:
            patch = shlex.join(["mlflow", "artifacts", "download", "-r", made.patch_holder, "-a", PATCH])
            steps.append(f'git apply "$({patch})"')
        blocks.append(Code("\n".join(steps), "The code"))
    blocks += _command_blocks(made) if command is None else [_command_block(command)]
    facts = [
        ("Commit", code_cell(made)),
        ("Patch", _patch_cell(made)),
        ("Data fingerprint", _recorded(made.fingerprint)),
        ("Configuration hash", _recorded(run.tags.get("config.sha256"))),
        ("Seed", _recorded(run.params.get("seed"))),
        ("Machine", _recorded(_machine(made))),
        ("Run id", Cell(run.run_id)),
    ]
    if not made.commit:
        facts.pop(1)
    return [*blocks, Facts(facts)]


def _command_blocks(made: Surroundings) -> list[Block]:
    """Give the command of a run, and the one that trains it again and compares."""
    from tradingbot_exp.tracking.reading.recipe import Recipe

    recipe = Recipe(made, None)
    if made.run.kind and recipe.own_program not in (None, "unknown"):
        return [Notice(redact(f"Made by a program of its own: {recipe.own_program}"), "muted")]
    if recipe.own_program is not None or made.overrides is None:
        return [_command_block("")]
    verify = f"python -m tradingbot_exp reproduce {made.run.run_id} --verify"
    return [_command_block(redact(recipe.command)), Code(verify, "Or: train again and compare")]


def _command_block(command: str) -> Block:
    return Code(command, "The command") if command else Notice("The command of this run is not recorded.", "muted")


def _patch_cell(made: Surroundings) -> Cell:
    if made.patch is not None:
        left_out = made.recorded("git", "left_out_of_patch")
        but = f"; it leaves out {', '.join(map(str, left_out))}" if left_out else ""
        return Cell(f"{PATCH}, in the artifacts of the run {made.patch_holder}{but}")
    if made.is_dirty:
        return Cell("there were uncommitted changes, and they were not kept", tone="warning")
    return _recorded("none: the tree was clean" if made.tag("git.dirty") else None)


def made_line(now: datetime | None = None) -> str:
    """Say when a report was made, and by what."""
    return f"Made {moment(now or datetime.now(UTC))} by tradingbot_exp {VERSION}"


def _recorded(text: str | None) -> Cell:
    return Cell(text) if text else Cell("not recorded", tone="muted")


def _machine(made: Surroundings) -> str | None:
    """Name Python, torch and the processor in a line, as far as ``environment.json`` does."""
    parts = [
        f"{name} {value}".strip()
        for name, value in (
            ("Python", made.recorded("python", "version")),
            ("torch", made.recorded("torch", "version")),
            ("", made.recorded("hardware", "cpu")),
            ("", made.recorded("platform", "system")),
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
