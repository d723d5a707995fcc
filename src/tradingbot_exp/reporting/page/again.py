"""How to get a run again: its command, commit, patch, data, and the command that checks it."""

from __future__ import annotations

import shlex

from tradingbot_exp.reporting.page.blocks import OWN_KINDS, text_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Code, Facts, Notice
from tradingbot_exp.runtime.text import own_command
from tradingbot_exp.tracking.reading.artifacts import PATCH
from tradingbot_exp.tracking.reading.run_context import RunContext

_UNKNOWN = "not recorded"


def code_cell(made: RunContext) -> Cell:
    """Show the commit that a run was made from, and whether the work tree had changes beyond it."""
    if not made.commit:
        why = ": the run did not start in a git work tree" if made.run.kind in OWN_KINDS else ""
        return Cell(f"not recorded{why}", tone="muted")
    branch = made.tag("mlflow.source.git.branch")
    where = made.commit + (f" on {branch}" if branch else "")
    return Cell(f"{where}, with uncommitted changes", tone="warning") if made.is_dirty else Cell(where)


def again_blocks(made: RunContext, command: str | None = None) -> list[Block]:
    """Say how to get a run again: command, commit, patch, data, and the command that checks it.

    Parameters
    ----------
    made : RunContext
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
        ("Data fingerprint", text_cell(made.fingerprint, _UNKNOWN)),
        ("Configuration hash", text_cell(run.tags.get("config.sha256"), _UNKNOWN)),
        ("Seed", text_cell(run.params.get("seed"), _UNKNOWN)),
        ("Machine", text_cell(_machine(made), _UNKNOWN)),
        ("Run id", Cell(run.run_id)),
    ]
    if not made.commit:
        facts.pop(1)
    return [*blocks, Facts(facts)]


def _command_blocks(made: RunContext) -> list[Block]:
    """Return the command of a run, and the one that trains it again and compares."""
    from tradingbot_exp.tracking.reading.recipe import Recipe

    recipe = Recipe(made, None)
    if made.run.kind and recipe.own_program not in (None, "unknown"):
        return [Notice(f"Made by a program of its own: {recipe.own_program}", "muted")]
    if recipe.own_program is not None or made.overrides is None:
        return [_command_block("")]
    verify = own_command("reproduce", made.run.run_id, "--verify")
    return [_command_block(recipe.command), Code(verify, "Or: train again and compare")]


def _command_block(command: str) -> Block:
    return Code(command, "The command") if command else Notice("The command of this run is not recorded.", "muted")


def _patch_cell(made: RunContext) -> Cell:
    if made.patch is not None:
        left_out = made.recorded("git", "left_out_of_patch")
        but = f"; it leaves out {', '.join(map(str, left_out))}" if left_out else ""
        return Cell(f"{PATCH}, in the artifacts of the run {made.patch_holder}{but}")
    if made.is_dirty:
        return Cell("there were uncommitted changes, and they were not kept", tone="warning")
    return text_cell("none: the tree was clean" if made.tag("git.dirty") else None, _UNKNOWN)


def _machine(made: RunContext) -> str | None:
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
