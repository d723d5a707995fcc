"""What a run was made of: code, data, configuration, packages, machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.run_record import Artifacts, RunRecord

# What only the run that opened the others knows.
_SHARED_TAGS = (
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
    "git.dirty",
    "mlflow.source.name",
    "test.overlap",
)

REQUIREMENTS = "environment/requirements.txt"
# The main job, as the tag ``mlflow.source.name`` has it.
OUR_PROGRAMS = ("tradingbot_exp.train", "tradingbot-train")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A run with what it was made of; None for each thing that was not recorded.

    Attributes
    ----------
    run : RunRecord
    parent : RunRecord or None
        The study's or the sweep's run, of a trial.
    config : mapping or None
        ``config/config.yaml``; of a trial, the study's, without the values that the trial was given.
    overrides : tuple of str or None
        ``config/overrides.yaml``; of a trial, the study's.
    card, environment : mapping or None
        ``data/data_card.json`` and ``environment/environment.json``.
    requirements : mapping of str to str, or None
        Version by package.
    patch : bytes or None
        ``code/uncommitted.patch``; None if there is none.
    problems : tuple of str
        Artifacts that are there and cannot be read, each with the reason.
    """

    run: RunRecord
    parent: RunRecord | None
    config: Mapping[str, Any] | None
    overrides: tuple[str, ...] | None
    card: Mapping[str, Any] | None
    environment: Mapping[str, Any] | None
    requirements: Mapping[str, str] | None
    patch: bytes | None
    problems: tuple[str, ...] = ()

    def tag(self, name: str) -> str | None:
        """Give a tag of the run; one about code, program or test set is the parent's, if the run has none."""
        found = self.run.tags.get(name)
        if found is None and self.parent is not None and name in _SHARED_TAGS:
            found = self.parent.tags.get(name)
        return found

    @property
    def is_trial(self) -> bool:
        """Whether the run is one of a study's, which keeps what its trials share."""
        return self.parent is not None and "study.name" in self.run.tags

    @property
    def commit(self) -> str | None:
        """The git commit."""
        return self.tag("mlflow.source.git.commit")

    @property
    def is_dirty(self) -> bool:
        """Whether there were uncommitted changes."""
        return self.tag("git.dirty") == "true"

    @property
    def patch_holder(self) -> str:
        """Id of the run whose artifacts have the patch: a trial's is its study's."""
        return self.parent.run_id if self.is_trial and self.parent is not None else self.run.run_id

    @cached_property
    def patch_sha256(self) -> str | None:
        """Hash of the patch; None without one."""
        return None if self.patch is None else hashlib.sha256(self.patch).hexdigest()

    @property
    def fingerprint(self) -> str | None:
        """Hash of the data."""
        return self.run.tags.get("data.fingerprint") or (self.card or {}).get("fingerprint")

    def recorded(self, *keys: str) -> Any:
        """Give a value of ``environment.json`` by the keys that lead to it; None if it is not there."""
        found: Any = self.environment or {}
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


def surroundings_of(run: RunRecord, artifacts: Artifacts, parent: RunRecord | None = None) -> Surroundings:
    """Say what a run was made of by what was read already: all but the configuration's file and the packages."""
    return Surroundings(
        run=run,
        parent=parent,
        config=None,
        overrides=artifacts.overrides,
        card=artifacts.card,
        environment=artifacts.environment,
        requirements=None,
        patch=artifacts.patch,
        problems=artifacts.problems,
    )
