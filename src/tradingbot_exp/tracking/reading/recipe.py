"""What it takes to make a run again: code, overrides, data, packages, and the one command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.finalize import flatten
from tradingbot_exp.config.keys import BLOCKS, facts_of
from tradingbot_exp.data.card import GIVEN_ARRAYS
from tradingbot_exp.errors import RunError
from tradingbot_exp.runtime.text import own_command, split_command, train_command
from tradingbot_exp.tracking.reading.differences import canonical
from tradingbot_exp.tracking.reading.fetch import read_context
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.reading.run_context import OUR_PROGRAMS, RunContext
from tradingbot_exp.tracking.run_names import OWN_LOOP, SAMPLER_TAG
from tradingbot_exp.tracking.store.errors import DamagedError
from tradingbot_exp.tracking.store.lookup import ENSEMBLE, REFIT
from tradingbot_exp.tracking.store.moved import present_path
from tradingbot_exp.tracking.writing.params_tags_metrics import MAX_PARAM_LENGTH, NO_VALUE

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store


@dataclass(frozen=True, eq=False)
class Recipe:
    """A run, and what it takes to make it again.

    Attributes
    ----------
    made : RunContext
        The run with what it was made of, and every metric at every step.
    tree : dict or None
        The whole configuration, nested; of a trial, with its own values. None if it was not recorded.
    problem : str
        Why there is no `tree`, in a sentence.
    """

    made: RunContext
    tree: dict[str, Any] | None
    problem: str = ""

    @cached_property
    def overrides(self) -> tuple[str, ...]:
        """The overrides; of a trial, the study's and then its own values."""
        own = self.made.overrides or ()
        parent = self.made.parent
        if not self.made.is_trial or parent is None:
            return own
        params = self.made.run.params
        mine = {key: text for key, text in params.items() if text != parent.params.get(key)}
        given = {key: "null" if text == NO_VALUE else text for key, text in mine.items() if _is_given(key)}
        return (*own, *(f"{key}={text}" for key, text in given.items()))

    def tree_of_its_code(self) -> dict[str, Any]:
        """Return a copy of `tree` without keys that are newer than the run: its code would refuse them."""
        return _known_to(self.made.run.params, json.loads(json.dumps(self.tree)))

    @property
    def command(self) -> str:
        """The command that makes the run again, in a checkout of its code; or what is known of the program."""
        if self.own_program is not None:
            return f"{shlex.join(self.own_program.split())} (a program of its own)"
        tags = self.made.run.tags
        if self.made.run.kind == REFIT:
            given = ("--through", tags.get("refit.through")), ("--data", self.data_path)
            words = [word for key, value in given if value is not None for word in (key, value)]
            return own_command("refit", tags.get("refit.run_id", "RUN"), *words)
        if self.made.run.kind in ("study", ENSEMBLE):  # which the study makes
            words = self.made.recorded("arguments") or ["--multirun", *self.overrides]
            return train_command(words)
        swept = tags.get("sweep.overrides")
        if swept is not None:
            return train_command(["--multirun", "hydra/sweeper=basic", *split_command(swept)])
        return train_command(self.overrides)

    @property
    def own_program(self) -> str | None:
        """The program, if it was another one than the main job."""
        if self.made.run.kind and Path(self.made.tag("mlflow.source.name") or "").name in OUR_PROGRAMS:
            return None
        is_job = "config.sha256" in self.made.run.tags and self.made.run.tags.get(SAMPLER_TAG) != OWN_LOOP
        if is_job and self.made.card.get("source") != GIVEN_ARRAYS:
            return None
        return self.made.recorded("command") or self.made.tag("mlflow.source.name") or "unknown"

    @property
    def data_path(self) -> str | None:
        """The data file, as it was given; None for data that come with the package."""
        found = (self.tree or {}).get("data", {}).get("path")
        return None if found is None else self._present(str(found))

    @property
    def launch_dir(self) -> Path | None:
        """Where the run was started; if the folder was moved with its store, where it is now."""
        found = self.made.recorded("launch_dir")
        return None if found is None else Path(self._present(found))

    @property
    def root(self) -> Path | None:
        """The repository that the run was started in; if it was moved with its store, where it is now."""
        found = self.made.recorded("git", "root")
        return None if found is None else Path(self._present(str(found)))

    def _present(self, path: str) -> str:
        return present_path(path, self.made.run.params, self.made.run.store)

    def require_verifiable(self) -> None:
        """Refuse a run that cannot be trained again from what is recorded.

        Raises
        ------
        RunError
            Says why.
        """
        run = self.made.run
        named = f"The run {run.run_id} ({run.name})"
        if self.own_program is not None:
            why = "trained on arrays" if "config.sha256" in run.tags else "made by a program of its own"
            raise RunError(
                f"{named} was {why}, which MLflow does not hold: it cannot be made again from here. Run "
                f"`{self.own_program}` again, and compare the two with `diff`."
            )
        if self.tree is None:
            raise RunError(f"{named} cannot be made again without its configuration. {self.problem}")
        if not any(len(curve) for curve in run.curves.values()):
            raise RunError(f"{named} ({run.status}) has no metric: there is nothing to compare with.")
        repeats = str(self.tree.get("hpo", {}).get("repeats", 1))
        if self.made.is_trial and run.tags.get("trial.state") != "complete" and repeats != "1":
            raise RunError(
                f"{named} is a trial of several seeds (hpo.repeats={repeats}) that did not complete: where it stopped "
                "is not recorded, so it cannot be compared. Take one that is complete."
            )


def read_recipe(store: Store, run: Run, *, trust: bool = False) -> Recipe:
    """Read what it takes to make a run again.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    made = read_context(store, run, list(run.data.metrics))
    try:
        return Recipe(made, _tree(RecordedRun(made.run, store, run, trust).config))
    except DamagedError as error:
        problems = (*made.artifacts.problems, str(error))
        return Recipe(replace(made, artifacts=replace(made.artifacts, problems=problems)), None, str(error))
    except RunError as error:
        return Recipe(made, None, str(error))


def _tree(config: Any) -> dict[str, Any]:
    """Return the whole configuration as plain values; a list, as another program may have logged, is refused."""
    from omegaconf import OmegaConf

    found: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else asdict(config)
    if not isinstance(found, dict):
        raise RunError("Its config/config.yaml is a list, not keys with values.")
    return found


def _known_to(params: Mapping[str, str], tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keep the keys that a run has as params, of each block of which it has any."""
    found = dict(tree)
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key in BLOCKS and isinstance(value, Mapping) and any(each.startswith(f"{key}.") for each in params):
            found[name] = _known_to(params, value, f"{key}.")
        elif prefix and not any(each == key or each.startswith(f"{key}.") for each in params):
            del found[name]
    return found


def altered_keys(made: RunContext, tree: Mapping[str, Any]) -> list[str]:
    """Name the keys whose values are not those that the run has as params, `seed` first."""
    flat = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in flatten(tree)}
    params = made.run.params
    found = [key for key, text in flat.items() if key in params and not _agree(params[key], text)]
    return sorted((key for key in found if _is_given(key)), key=lambda key: key != "seed")


def _is_given(key: str) -> bool:
    """Tell whether a command that makes a run again has to give a key."""
    facts = facts_of(key)
    return facts.decides in ("result", "data") and not facts.derived


def _agree(param: str, text: str) -> bool:
    """Tell whether a param is a value's text; one that MLflow could not hold whole says nothing."""
    return len(param) >= MAX_PARAM_LENGTH or canonical(param) == canonical(text)
