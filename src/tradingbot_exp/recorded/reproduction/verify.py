"""Making a run again in a process and a checkout of its own, with a store of its own, and judging what comes of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import RunError
from tradingbot_exp.recorded.reproduction.comparison import (
    Cause,
    Comparison,
    bound_of,
    causes_of,
    code_causes,
    compare_points,
    package_causes,
)
from tradingbot_exp.recorded.reproduction.place import (
    Place,
    data_file,
    environment_of,
    prepared_place,
)
from tradingbot_exp.runtime.package import FOLDER, VERSION
from tradingbot_exp.runtime.process import user_name
from tradingbot_exp.runtime.text import day
from tradingbot_exp.tracking.reading.artifacts import literal
from tradingbot_exp.tracking.reading.fetch import read_context
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.environment import packages
from tradingbot_exp.tracking.writing.params_tags_metrics import tag_texts

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.recipe import Recipe
    from tradingbot_exp.tracking.reading.run_context import RunContext
    from tradingbot_exp.tracking.reading.run_record import RunRecord
    from tradingbot_exp.tracking.store.store import Store

_REPLAY = FOLDER / "replay.py"
# What `model_version` derives; a version that a user gave looks otherwise.
_DERIVED_VERSION = re.compile(r"[0-9a-f]{8,16}")
_END_SECONDS = 10.0
_STORE = "store"
# Metrics that a run may have besides those of its training: of the test set, opened later, and of the machine.
_NOT_OF_TRAINING = ("test_", "system/")


def verify(
    recipe: Recipe,
    data: str | None = None,
    say: Callable[[str], object] = lambda text: None,
    *,
    trust: bool = False,
) -> Comparison:
    """Check data and packages, train again, and compare every metric at every step.

    Nothing of the user's is changed: the code is checked out into a temporary worktree, and the records go into a
    scratch store.

    Parameters
    ----------
    recipe : Recipe
    data : str, optional
        Where the run's data file is now.
    say : callable
        Told what is being done.
    trust : bool
        Whether to run what the store keeps of the run's code: its uncommitted changes, and plugins.

    Raises
    ------
    RunError
        The run cannot be made again: its commit or its data are gone, the data have changed, it was made by another
        program, the code at its commit cannot be run, or it wants trust.
    """
    recipe.require_verifiable()
    for cause in _package_check(recipe):
        say(f"{cause}")
    with tempfile.TemporaryDirectory(prefix="tradingbot-reproduce-") as name:
        scratch = Path(name).resolve()
        with prepared_place(recipe, scratch, trust=trust) as place:
            file, changed = data_file(recipe, data, place)
            say(f"training again {place.words}")
            _write_spec(recipe, scratch, file)
            environment = environment_of(recipe, place)
            recorded = recipe.made.recorded("variables")
            recorded = recorded if isinstance(recorded, Mapping) else {}
            unset = [str(name) for name, text in recorded.items() if environment.get(name) != text]
            if unset:
                say(f"environment: variables that the run had, and that no store may set: {', '.join(unset)}")
            result = _run(scratch, place, environment)
            _require_result(recipe, result, file)
            again = _made_again(scratch / _STORE, result["run_id"])
    ending = f"it ended as {result['failure']}" if result.get("failure") else ""
    found = compare(recipe, again)
    notes = (place.words, *found.notes, ending, changed)
    return replace(found, notes=tuple(filter(None, notes)))


def compare(recipe: Recipe, again: RunContext) -> Comparison:
    """Compare what came of making a run again, with every metric at every step, with the run."""
    run, is_whole = recipe.made.run, _is_whole(recipe)
    bound = bound_of(run.tags.get("engine", ""), run.params.get("training.precision", "float32"))
    found = compare_points(_points(run), _points(again.run), bound, is_whole=is_whole)
    early = f"the run ended early ({run.tags.get('trial.state') or run.status}): compared as far as it went"
    return replace(found, causes=causes_of(recipe, again), notes=() if is_whole else (early,))


def keep(store: Store, run_id: str, comparison: Comparison) -> None:
    """Write what came of it into the run, as the tags ``reproduced.result``, ``reproduced.at`` and ``reproduced.by``.

    Raises
    ------
    TrackingError
        The store does not take them.
    """
    import platform
    from datetime import UTC, datetime

    tags = {
        "reproduced.result": comparison.summary,
        "reproduced.at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reproduced.by": f"{user_name()} on {platform.node()}, tradingbot_exp {VERSION}",
    }
    store.annotate(run_id, tag_texts(tags))


def _points(run: RunRecord) -> dict[tuple[str, int], float]:
    """Return every value of every metric of a training, by name and step."""
    return {
        (name, step): value
        for name, curve in run.curves.items()
        if not name.startswith(_NOT_OF_TRAINING)
        for step, value in zip(curve.steps, curve.values, strict=True)
    }


def _is_whole(recipe: Recipe) -> bool:
    run = recipe.made.run
    return run.status == "FINISHED" and run.tags.get("trial.state", "complete") == "complete"


def _last_epoch(recipe: Recipe) -> int:
    """Return the epoch after which a run ended early; 1 if it has metrics of the whole run only."""
    return max((step for _, step in _points(recipe.made.run)), default=0) or 1


def _package_check(recipe: Recipe) -> list[Cause]:
    import platform

    return package_causes(recipe.made, packages() | {"python": platform.python_version()})


def _write_spec(recipe: Recipe, scratch: Path, file: Path | None) -> None:
    """Write the configuration that is run, and what else the program has to know."""
    from omegaconf import OmegaConf

    tree = recipe.tree_of_its_code()
    tree["tracking"] = {**tree["tracking"], "uri": (scratch / _STORE).as_uri(), "on_error": "raise"}
    tree["experiment"] = {"name": "reproduction"}
    tree["hpo"] = {**tree["hpo"], "storage": None, "keep": "none", "study_name": None}
    if tree["hpo"].get("param_space"):
        tree["hpo"]["param_space"] = {}
    if file is not None:
        tree["data"]["path"] = str(file)
    for key in ("resume", "checkpoint_every"):  # how a run got to its end, not what came of it
        tree["training"].pop(key, None)
    # Derived anew, so that other code gives another version.
    tree["model"]["input_dim"] = None
    is_given = any(word.startswith("model.version=") for word in recipe.overrides)
    if not is_given and _DERIVED_VERSION.fullmatch(str(tree["model"].get("version"))):
        tree["model"]["version"] = None
    (scratch / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(literal(tree))), encoding="utf-8")
    spec = {
        "fingerprint": recipe.made.fingerprint,
        "trial": recipe.made.is_trial,
        "overrides": list(recipe.overrides),
        "stop_after": None if _is_whole(recipe) else _last_epoch(recipe),
    }
    (scratch / "spec.json").write_text(json.dumps(spec), encoding="utf-8")


def _run(scratch: Path, place: Place, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run the program and read what it left; it is ended with this process."""
    said = scratch / "said.txt"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            # -P: the program's own folder is not on the import path.
            [sys.executable, "-P", str(_REPLAY), str(scratch / "spec.json")],
            cwd=place.cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            process.wait()
        finally:
            _end(process)
    left = scratch / "result.json"
    if left.is_file():
        found: dict[str, Any] = json.loads(left.read_text(encoding="utf-8"))
        return found
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"error": lines[-1] if lines else f"it ended with status {process.returncode}"}


def _made_again(place: Path, run_id: str) -> RunContext:
    """Read the run that was made again, with every metric at every step, out of the scratch store."""
    store = open_store(place)
    run = store.run(run_id)
    return read_context(store, run, list(run.data.metrics))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, if it still runs."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(_END_SECONDS)
            return
        except subprocess.TimeoutExpired:
            continue


def _require_result(recipe: Recipe, result: Mapping[str, Any], file: Path | None) -> None:
    """Raise what kept the run from being made again.

    Raises
    ------
    RunError
        Says what, and in which respect.
    """
    run = recipe.made.run
    if result.get("error"):
        why = redact(str(result["error"]))
        kind = "data" if why.startswith("DataError") else "code"
        raise RunError(f"{kind}: the run {run.run_id} could not be trained again: {why}")
    then, now = recipe.made.fingerprint, result["fingerprint"]
    if then == now:
        return
    card, old = result.get("card") or {}, recipe.made.card
    what = f"the file {file}" if file is not None else f"the data {run.params.get('data.name')}"
    said = [f"{card.get('rows')} rows", *(f"to {day(each)}" for each in (card.get("period") or [])[1:])]
    before = [f"{old.get('rows')} rows", *(f"to {day(each)}" for each in (old.get("period") or [])[1:])]
    also = "".join(f" Also not the same: {cause}." for cause in code_causes(recipe.made))
    raise RunError(
        f"data: {what} is not what the run {run.run_id} was made with: its fingerprint was {then} ({' '.join(before)}) "
        f"and is {now} ({' '.join(said)}). One bar or more has changed; nothing was trained. With the old file at "
        f"hand, name it with --data FILE.{also}"
    )
