"""What a study is: its name, configuration, space, definition and trials, created in a storage or loaded from it."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from tradingbot_exp.config.finalize import vary
from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.definition import define, differences, short_hash
from tradingbot_exp.hpo.prior import Prior
from tradingbot_exp.hpo.samplers import START
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.storage import create_or_load, open_storage
from tradingbot_exp.runtime.process import identity, is_alive, signature
from tradingbot_exp.tracking.store.places import inside

SHOWN_TRIALS = 5
# Of a study's name in that of its folder: file systems take 255 bytes, and a letter may have four.
FOLDER_LETTERS = 60
_POLL_SECONDS = 0.05
# User attribute with what `hpo.prior` came to.
PRIOR = "prior"
# A trial, or a study, that nobody has signed yet was made just now, or its process died in that moment.
UNSIGNED_SECONDS = 3.0


@dataclass(frozen=True, repr=False)
class StudyResult:
    """What a finished study leaves.

    Attributes
    ----------
    study : optuna.Study
    parent_id, name : str
    best : list of FrozenTrial
        Best first; of several objectives, the Pareto front.
    stopped_early : str or None
        Why it ended before `hpo.num_trials`.
    """

    study: optuna.Study
    parent_id: str
    name: str
    best: list[optuna.trial.FrozenTrial]
    stopped_early: str | None

    def __repr__(self) -> str:
        best = self.best[0].values if self.best else None
        return f"StudyResult({self.name!r}, best={best}, parent_id={self.parent_id!r})"

    def _repr_html_(self) -> str:
        """Show the study in a notebook: its best trials, the best first."""
        names = list(self.best[0].params) if self.best else []
        rows = [["trial", "value", *names]]
        for trial in self.best[:SHOWN_TRIALS]:
            values = ", ".join(f"{value:.6g}" for value in trial.values)
            rows.append([str(trial.number), values, *(str(trial.params.get(name, "")) for name in names)])
        head = html.escape(f"Study {self.name} (run {self.parent_id})")
        early = f"<p>stopped early: {html.escape(self.stopped_early)}</p>" if self.stopped_early else ""
        cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        return f"<p>{head}</p>{early}<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


@dataclass
class Study:
    """A study, whoever runs it.

    Attributes
    ----------
    config : Config
        The configuration that trials vary.
    space : SearchSpace
    name : str
    definition : dict of str to object
        What makes it this study: see `tradingbot_exp.hpo.definition.define`.
    optuna : optuna.Study
        Its trials in their storage.
    address : str
        The storage's, with any password.
    folder : Path
        Where the trials' folders are, the same for each start of the study.
    overrides : list of str
        What every trial is given besides its values; kept with the study's run.
    configure : callable
        Returns the checked configuration of a trial of some values, by key.
    is_new : bool
        Whether it was created just now, by this process.
    """

    config: Config
    space: SearchSpace
    name: str
    definition: dict[str, Any]
    optuna: optuna.Study
    address: str
    folder: Path
    overrides: list[str]
    configure: Callable[[Mapping[str, Any]], Config]
    is_new: bool = False

    @property
    def total(self) -> int:
        """How many trials it is to have."""
        return self.config.hpo.num_trials

    @property
    def shown_address(self) -> str:
        """The storage's address without a password."""
        return redact(self.address)

    def trial_config(self, params: Mapping[str, Any]) -> Config:
        """Return the checked configuration of a trial of these encoded values.

        Raises
        ------
        ConfigError
            They cannot be tried.
        """
        return self.configure(self.space.decode(params))


def wait_for(study: optuna.Study, name: str) -> Any:
    """Wait for an attribute that the creator of a study writes; None if nobody does: it is gone, or this process."""
    deadline = time.monotonic() + UNSIGNED_SECONDS
    while name not in study.user_attrs:
        owner = study.user_attrs.get("owner")
        if owner is None:
            if time.monotonic() > deadline:
                return None
        elif identity().items() <= owner.items() or not is_alive(owner):
            return None
        time.sleep(_POLL_SECONDS)
    return study.user_attrs[name]


def open_study(
    config: Config,
    space: SearchSpace,
    overrides: Sequence[str] = (),
    configure: Callable[[Mapping[str, Any]], Config] | None = None,
    find: Callable[[], Prior | None] = lambda: None,
) -> Study:
    """Create a study in its storage, or load the one that its configuration means.

    Parameters
    ----------
    config : Config
    space : SearchSpace
    overrides : sequence of str
    configure : callable, optional
        Returns the checked configuration of a trial of some values, by key; else `config` with those values.
    find : callable
        Finds what a new study starts from, `hpo.prior`; one that goes on has that already.

    Raises
    ------
    ConfigError
        A study of this name is there, and is another one.
    TrackingError
        The storage cannot be opened, or names a folder elsewhere.
    """
    definition = define(config, space.describe(), load_data(config).fingerprint)
    storage, address = open_storage(config.hpo.storage, launch_dir())
    name = _choose_name(config, definition, storage)
    is_asked = config.hpo.prior is not None and name not in optuna.get_all_study_names(storage)
    prior = find() if is_asked else None  # before anything is made
    found, created = create_or_load(storage, name, [objective.direction for objective in objectives_of(config.hpo)])
    if created:
        found.set_user_attr("owner", signature())
    stored = None if created else wait_for(found, "definition")
    if stored is None:  # it is new, or its creator died before it had said what it is
        found.set_user_attr("folder", _free_folder(name))
        kept = prior_of(found, space)  # what a creator that died has enqueued stays
        if kept is None and (prior := prior or find()):
            found.set_user_attr(PRIOR, prior._asdict())
        enqueue_start(found, config, space, kept or prior)
        found.set_user_attr("definition", definition)  # last: others wait for it
    else:
        _check_definition(name, stored, definition)
    folder = inside(launch_dir() / "multirun", str(found.user_attrs.get("folder", name)))
    configure = configure or partial(vary, config)
    return Study(config, space, name, definition, found, address, folder, list(overrides), configure, created)


def enqueue_start(study: optuna.Study, config: Config, space: SearchSpace, prior: Prior | None = None) -> None:
    """Let the points of `hpo.start`, and that of `hpo.prior`, be tried first, those that do not wait for it yet."""
    known = {trial.user_attrs.get(START) for trial in study.get_trials(deepcopy=False)}
    points = [space.encode(point, f"hpo.start[{place}]") for place, point in enumerate(config.hpo.start)]
    for place, point in enumerate([*points, prior.point] if prior else points):
        if place not in known:
            study.enqueue_trial(point, user_attrs={START: place})


def prior_of(study: optuna.Study, space: SearchSpace) -> Prior | None:
    """Return what a study has started from, as its creator wrote it down, of it what is in the space."""
    match study.user_attrs.get(PRIOR):
        case {"run_id": str(run_id), "point": {**given}}:
            point = {str(name): value for name, value in given.items() if space.holds(str(name), value)}
            return Prior(run_id, point)
    return None


def _choose_name(config: Config, definition: dict[str, Any], storage: optuna.storages.BaseStorage) -> str:
    hpo = config.hpo
    name = hpo.study_name or f"{config.model.name}-{config.data.name}-{short_hash(definition)}"
    if hpo.resume:
        return name
    taken = set(optuna.get_all_study_names(storage))
    if name not in taken:
        return name
    return next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)


def _check_definition(name: str, stored: dict[str, Any], definition: dict[str, Any]) -> None:
    said = differences(stored, definition)
    if said:
        raise ConfigError(
            f"The study {name} is there already, and is another one:\n  "
            + "\n  ".join(said)
            + "\nGive this one a name of its own with hpo.study_name=NAME, or start afresh with hpo.resume=false."
        )


def _free_folder(name: str) -> str:
    """Return a name of a folder that nothing has written into: another storage may have had a study of this name.

    It lies in the folder of all studies, and any file system takes it, whatever the study is called.
    """
    taken = launch_dir() / "multirun"
    short = re.sub(r'[/\\:*?"<>|]', "_", name)[:FOLDER_LETTERS].strip(". ") or "study"
    candidates = (short, *(f"{short}.{number}" for number in range(2, 10_000)))
    return next(candidate for candidate in candidates if not (taken / candidate).exists())
