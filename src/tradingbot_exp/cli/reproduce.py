"""The command ``reproduce RUN``: what it takes to make a run again; with ``--verify`` it is made again and compared."""

from __future__ import annotations

import argparse
import shlex
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.recorded.reproduction.verify import keep, verify
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.text import one_line, own_command, plural
from tradingbot_exp.terminal.output import say
from tradingbot_exp.terminal.text import wrapped_line
from tradingbot_exp.tracking.reading.artifacts import PATCH
from tradingbot_exp.tracking.reading.differences import NUMERIC, touched
from tradingbot_exp.tracking.reading.recipe import read_recipe
from tradingbot_exp.tracking.store.kinds import STUDIES, VERIFY, kind_in_words, require
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store

if TYPE_CHECKING:
    from tradingbot_exp.recorded.reproduction.comparison import Comparison
    from tradingbot_exp.tracking.reading.recipe import Recipe
    from tradingbot_exp.tracking.store.store import Store


def run(options: argparse.Namespace) -> int:
    """Print the recipe, or verify the run; status 1 if what came of it is not the same."""
    store = open_store(options.tracking_uri)
    found = find_run(store, options.run)
    if not options.verify:
        recipe = read_recipe(store, found, trust=options.trust)
        say(json_text(as_json(recipe)) if options.json else shown(recipe, store))
        return 0
    trained = require(store, found, VERIFY)
    if trained is not found:
        _note(f"{one_line(found.info.run_name)} is a study; its best trial, {trained.info.run_id}, is made again")
    recipe = read_recipe(store, trained, trust=options.trust)
    comparison = _verify(recipe, options)
    keep(store, recipe.made.run.run_id, comparison)
    if options.json:
        told = {"run_id": recipe.made.run.run_id, **asdict(comparison), "summary": comparison.summary}
        say(json_text(told))
    else:
        say("\n".join(_comparison_lines(recipe, comparison)) + "\n")
    return int(not comparison.is_reproduced)


def _verify(recipe: Recipe, options: argparse.Namespace) -> Comparison:
    if threading.current_thread() is not threading.main_thread():
        return verify(recipe, options.data, _note, trust=options.trust)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupt.install()  # SIGTERM too leaves no worktree behind
    try:
        return verify(recipe, options.data, _note, trust=options.trust)
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not Python's
                signal.signal(number, handler)


def _note(text: str) -> None:
    say(f"{text}\n", error=True)


def as_json(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values."""
    made = recipe.made
    patch = None if made.patch is None else made.patch.decode("utf-8", "replace")
    return {
        "run_id": made.run.run_id,
        "name": made.run.name,
        "commit": made.commit,
        "dirty": made.is_dirty,
        "patch": None
        if patch is None
        else {"artifact": PATCH, "sha256": made.patch_sha256, "files": list(touched(patch)), "text": patch},
        "left_out_of_patch": list(made.recorded("git", "left_out_of_patch") or []),
        "overrides": list(recipe.overrides),
        "data": {"name": made.run.tags.get("data.name"), "path": recipe.data_path, "fingerprint": made.fingerprint},
        "python": made.recorded("python", "version"),
        "packages": dict(made.requirements),
        "launch_dir": None if recipe.launch_dir is None else str(recipe.launch_dir),
        "command": recipe.command,
        "verify": own_command("reproduce", made.run.run_id, "--verify") if _takes_verify(recipe) else None,
        "reproduced": {name: text for name, text in made.run.tags.items() if name.startswith("reproduced.")},
    }


def _takes_verify(recipe: Recipe) -> bool:
    return recipe.made.run.kind in (*VERIFY.kinds, *STUDIES)


def shown(recipe: Recipe, store: Store) -> str:
    """Write the recipe for a person."""
    return "\n".join(_lines(recipe, store)) + "\n"


def _lines(recipe: Recipe, store: Store) -> Iterator[str]:
    made, run = recipe.made, recipe.made.run
    yield f"{one_line(run.name)} ({one_line(run.run_id)}), {run.status}, in {store.shown}"
    yield wrapped_line("commit", made.commit or "none recorded: the run was made outside git")
    if made.patch is not None:
        files = ", ".join(touched(made.patch.decode("utf-8", "replace")))
        yield wrapped_line("patch", f"changes {files}; git apply takes it from")
        fetched = shlex.join(
            ["mlflow", "artifacts", "download", "--run-id", made.patch_holder, "--artifact-path", PATCH]
        )
        yield f"{'':12}{fetched}"
    elif made.is_dirty:
        yield wrapped_line("patch", "there were uncommitted changes, and they were not kept")
    else:
        yield wrapped_line("patch", "none: the tree was clean" if made.commit else "none")
    for text in made.recorded("git", "left_out_of_patch") or []:
        yield wrapped_line("", f"not in the patch: {text}")
    yield wrapped_line("overrides", " ".join(recipe.overrides) or "none")
    source = recipe.data_path or run.tags.get("data.name") or "not recorded"
    yield wrapped_line("data", f"{source}, fingerprint {made.fingerprint or 'not recorded'}")
    packages = made.requirements
    first = [name for name in NUMERIC if name in packages]
    python = made.recorded("python", "version")
    words = [*([f"python {python}"] if python else []), *(f"{name} {packages[name]}" for name in first)]
    more = f", and {len(packages) - len(first)} more in environment/requirements.txt" if packages else ""
    yield wrapped_line("packages", ", ".join(words) + more if words else "not recorded")
    if made.run.tags.get("reproduced.result"):
        yield wrapped_line("verified", f"{run.tags['reproduced.result']} ({run.tags.get('reproduced.at', '')})")
    yield "  command"  # the commands are on lines of their own, whole, to be copied
    if recipe.launch_dir is not None:
        yield f"{'':12}{shlex.join(['cd', str(recipe.launch_dir)])}"
    yield f"{'':12}{recipe.command}"
    if not _takes_verify(recipe):
        yield wrapped_line("verify", f"{kind_in_words(run.kind)} is not verified, {VERIFY.right} is")
    elif recipe.own_program is None:
        yield "  verify"
        yield f"{'':12}{own_command('reproduce', run.run_id, '--verify')}"
    else:
        yield wrapped_line("verify", "not from here: MLflow holds neither that program nor its arrays")
    for text in made.artifacts.problems:
        yield wrapped_line("unread", text)


def _comparison_lines(recipe: Recipe, comparison: Comparison) -> Iterator[str]:
    run = recipe.made.run
    compared = f"{plural(comparison.points, 'value')} of {plural(comparison.metrics, 'metric')} at every step"
    if comparison.first is None:
        within = f", the largest relative difference is {comparison.worst:.2g}" if comparison.worst else ""
        yield f"{comparison.result}: {one_line(run.name)} ({run.run_id}), {compared}{within}"
    else:
        first = comparison.first
        yield f"different: {one_line(run.name)} ({run.run_id}), {comparison.differing} of {compared}"
        place = f"at step {first.step}" if first.step else "at the end"
        yield wrapped_line("first", f"{first.metric} {place}: {_number(first.then)} then, {_number(first.now)} now")
        if not comparison.causes:
            yield wrapped_line(
                "cause",
                "none on record: code, data, packages, hardware and seed are the same, so something is not "
                "deterministic",
            )
    label = "likely" if comparison.first is not None else "not same"
    for cause in comparison.causes:
        yield wrapped_line(label, one_line(str(cause)))
        label = "also"
    for note in comparison.notes:
        yield wrapped_line("", one_line(note), 2, 2)


def _number(value: float | None) -> str:
    return "no value" if value is None else repr(value)
