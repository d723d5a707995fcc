"""Resuming a training run that was interrupted: which run, whether it may be, and from where.

A run is resumed only where its rest will be what it would have been: same configuration, data, source and packages.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tradingbot_exp.config.finalize import finalize, flatten
from tradingbot_exp.config.keys import KEYS, facts_of, value_of
from tradingbot_exp.config.modules import load_recorded_plugins
from tradingbot_exp.config.paths import launch_dir, place_of
from tradingbot_exp.config.redaction import refers_to_environment
from tradingbot_exp.data.folder import is_there
from tradingbot_exp.errors import ConfigError, DataError, RunError
from tradingbot_exp.experiment.checkpoints import CONFIGURATION, DATA, identity
from tradingbot_exp.experiment.data import check_inputs
from tradingbot_exp.runtime.process import is_alive, owner_of
from tradingbot_exp.runtime.text import own_command
from tradingbot_exp.tracking.reading.artifacts import literal, mapping_file
from tradingbot_exp.tracking.reading.fetch import run_record
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.store.kinds import RESUME, require
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.moved import present_path
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.checkpoints import has_checkpoint, read_checkpoint
from tradingbot_exp.tracking.writing.outbox.unsent import send_command, send_left_behind, unsent_runs, waiting_run_id
from tradingbot_exp.tracking.writing.resume_point import ResumePoint

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.store.types import Run

log = logging.getLogger(__name__)

KEY = "training.resume"


def find_resume_point(config: Config, overrides: Sequence[str]) -> ResumePoint | None:
    """Find the run that `training.resume` means, and see that it may be resumed; nothing is changed.

    Parameters
    ----------
    config : Config
        As composed from `overrides`: it says where the store is.
    overrides : sequence of str
        The command line's. Those that are given have to be what the run was started with.

    Returns
    -------
    ResumePoint, or None
        None without `training.resume`.

    Raises
    ------
    RunError
        There is no such run, or it cannot be resumed; the message says why, and what can be done.
    ConfigError, DataError
        Configuration or data are not those of the run.
    TrackingError
        The store cannot be read.
    """
    if config.training.resume is None:
        return None

    store = open_store(config.tracking.uri)
    send_left_behind(store.client)
    found = require(store, find_run(store, _word(config, overrides), kinds=("training",)), RESUME)
    _require_fit(store, found)
    content = read_checkpoint(store, found)
    loaded = RecordedRun(run_record(store, found, list(found.data.metrics)), store, found)
    own = _configuration(loaded, config, overrides)
    _require_same(loaded, content["identity"], own)
    curves = loaded.record.curves.items()
    points = {(name, step): value for name, each in curves for step, value in zip(each.steps, each.values, strict=True)}
    return ResumePoint(
        loaded.run_id, loaded.name, own, tuple(content["folds"]), points, dict(found.data.tags), loaded.status
    )


def refuse_in_study(config: Config) -> None:
    """Refuse to resume a training run in a study or a sweep, and say that those keep no checkpoints.

    Raises
    ------
    ConfigError
        `training.resume` is given.
    """
    if config.training.resume is not None:
        raise ConfigError(
            f"{KEY}={config.training.resume} resumes one training run, without --multirun. A study is resumed by "
            "its own command, given again: trials that are complete stay."
        )
    if config.training.checkpoint_every is not None:
        log.warning(
            "training.checkpoint_every=%s: trials keep no checkpoints. A study that is interrupted goes on with its "
            "next trial when its command is given again.",
            config.training.checkpoint_every,
        )


def _word(config: Config, overrides: Sequence[str]) -> str:
    """Return the run as it was typed: to Hydra, an id such as 12e4 is a number."""
    typed = [word.partition("=")[2] for word in overrides if word.lstrip("+").partition("=")[0] == KEY]
    return typed[-1].strip("'\"") if typed else str(config.training.resume)


def _require_fit(store: Store, run: Run) -> None:
    """Refuse a training run that is over, is still going on, or left nothing to go on from."""
    tags, named = run.data.tags, f"{KEY}: the run {run.info.run_id} ({run.info.run_name})"
    if run.info.status == "FINISHED":
        raise RunError(
            f"{named} is complete, {_epochs(store, run)}: there is nothing to resume. To train for longer, start a "
            "new run with more training.epochs."
        )
    owner = owner_of(tags)
    if run.info.status == "RUNNING" and is_alive(owner):
        raise RunError(
            f"{named} is being trained, by the process {owner.get('process.pid')} on {owner.get('process.host')}. "
            "Wait for it, or end that process first."
        )
    waiting = [folder for folder in unsent_runs(launch_dir()) if waiting_run_id(folder) == run.info.run_id]
    if waiting:
        raise RunError(
            f"{named} has records that were not sent yet, in {waiting[0]}. Send them first: {send_command(store.uri)}"
        )
    if not has_checkpoint(run):
        raise RunError(
            f"{named}, which is {run.info.status}, has no checkpoint to resume from: a run keeps them if it is started "
            "with training.checkpoint_every=N, from its N-th epoch on. Train again, with that."
        )


def _epochs(store: Store, run: Run) -> str:
    """Return in words how many epochs a run was trained for."""
    name = next((name for name in ("train_loss", "fold_1_train_loss") if name in run.data.metrics), None)
    asked = run.data.params.get("training.epochs", "?")
    points = [] if name is None else store.points([run.info.run_id], name)
    ran = str(max((each.step for _, each in points), default=asked))
    return f"{ran} of {asked} epochs{'' if ran == asked else ' (it stopped early)'}"


def _configuration(loaded: RecordedRun, given: Config, overrides: Sequence[str]) -> Config:
    """Return the run's own configuration, with what may be another as it is given.

    Raises
    ------
    ConfigError
        Something is given that the run was not started with.
    """
    from omegaconf import OmegaConf

    named = f"the run {loaded.run_id} ({loaded.name})"
    tree = loaded._config_tree()
    OmegaConf.set_struct(tree, False)
    chosen = [word.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".") for word in overrides]
    values = {key: value for key, value in flatten(asdict(given)) if _is_given(key, chosen)}
    for key in [key for key in values if facts_of(key).may_change]:
        OmegaConf.update(tree, key, values.pop(key), merge=False, force_add=True)
    for key in (key for key, facts in KEYS.items() if facts.secret):  # kept without their passwords
        OmegaConf.update(tree, key, value_of(given, key))
    OmegaConf.update(tree, KEY, None, force_add=True)
    for key, text in flatten(cast("dict[str, Any]", OmegaConf.to_container(tree))):
        if not refers_to_environment(text) or facts_of(key).decides == "nothing":
            continue
        if key not in values:  # nothing of this machine is read because a store says so
            raise ConfigError(f"{KEY}: {key} of {named} came from the environment. Give it again: {key}=VALUE.")
        OmegaConf.update(tree, key, literal(values.pop(key)))
    try:
        own = finalize(tree, load=lambda names: load_recorded_plugins(names, named, advice=_name_plugins(names)))
    except ConfigError as error:
        raise ConfigError(f"{KEY}: the configuration of {named} cannot be run. {error}") from error
    there = dict(flatten(asdict(own)))
    other = [
        f"{key} is {there.get(key)} there, and {value} is given"
        for key, value in values.items()
        if there.get(key) != value and not (value is None and facts_of(key).derived)
    ]
    if other:
        raise ConfigError(
            f"{KEY}: {named} was started with another configuration: {'; '.join(other)}. Leave out what is given "
            f"besides {KEY}: the run's own values are taken. To train with others, start a new run."
        )
    path = own.data.path
    if path is not None and not is_there(place_of(path)):
        place = _launched_from(loaded, path)
        if is_there(place):
            own = replace(own, data=replace(own.data, path=str(place)))
    return own


def _name_plugins(names: Sequence[str]) -> str:
    return f"If you trust whoever made the run, name them yourself: add 'plugins=[{','.join(names)}]' to the command."


def _is_given(key: str, chosen: Sequence[str]) -> bool:
    """Return whether a key is set by overrides: itself, its group, or a template of the group experiment."""
    return any(key == each or key.startswith(f"{each}.") or each == "experiment" for each in chosen)


def _launched_from(loaded: RecordedRun, path: str) -> Path:
    """Return where a path that a run was given is now: in its launch directory, which may have been moved."""
    try:
        details = loaded._artifact("environment/environment.json", mapping_file)
    except RunError:
        details = {}
    recorded = Path(details.get("launch_dir") or launch_dir()) / path
    return Path(present_path(str(recorded), loaded.params, loaded._store.uri))


def _require_same(loaded: RecordedRun, before: dict[str, str], config: Config) -> None:
    """Refuse to resume with other data, code, packages or another device."""
    named = f"the run {loaded.run_id} ({loaded.name})"
    path = None if config.data.path is None else place_of(config.data.path)
    if path is not None and not is_there(path):
        raise DataError(
            f"{KEY}: the data of {named} are gone: there is no file {path}. Put it back, or say where it is now with "
            "data.path=FILE."
        )
    now = identity(config, check_inputs(config).fingerprint)
    other = [f"{name} ({before.get(name)} before, {now[name]} now)" for name in now if before.get(name) != now[name]]
    if before.get(DATA) != now[DATA]:  # which the configuration's hash covers
        other = [each for each in other if not each.startswith(CONFIGURATION)]
    if other:
        raise RunError(
            f"{KEY}: {named} cannot be resumed bit for bit, since these are not what they were: "
            f"{', '.join(other)}. Restore them (`{own_command('reproduce', loaded.run_id[:12])}` names commit "
            "and packages), or train again."
        )
