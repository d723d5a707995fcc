"""A run with what it was made of: code, data, configuration, packages, machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tradingbot_exp.tracking.reading.run_record import Artifacts, RunRecord

# What only the run that opened the others knows.
_SHARED_TAGS = (
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
    "git.dirty",
    "mlflow.source.name",
    "test.overlap",
)

# The main job, as the tag ``mlflow.source.name`` has it.
OUR_PROGRAMS = ("tradingbot_exp.train", "tradingbot-train")


@dataclass(frozen=True, eq=False)
class RunContext:
    """A run with what it was made of.

    Attributes
    ----------
    run : RunRecord
    artifacts : Artifacts
    parent : RunRecord or None
        The study's or the sweep's run, of a trial.
    """

    run: RunRecord
    artifacts: Artifacts
    parent: RunRecord | None = field(default=None, kw_only=True)

    @property
    def card(self) -> Mapping[str, Any]:
        """``data/data_card.json``; empty if it was not recorded."""
        return self.artifacts.card or {}

    @property
    def environment(self) -> Mapping[str, Any]:
        """``environment/environment.json``; empty if it was not recorded."""
        return self.artifacts.environment or {}

    @property
    def overrides(self) -> tuple[str, ...] | None:
        """``config/overrides.yaml``; of a trial, the study's."""
        return self.artifacts.overrides

    @property
    def patch(self) -> bytes | None:
        """``code/uncommitted.patch``."""
        return self.artifacts.patch

    @property
    def requirements(self) -> Mapping[str, str]:
        """Version by package; empty if it was not recorded."""
        return self.artifacts.requirements or {}

    def tag(self, name: str) -> str | None:
        """Return a tag of the run; one about code, program or test set is the parent's, if the run has none."""
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
        return self.run.tags.get("data.fingerprint") or self.card.get("fingerprint")

    def recorded(self, *keys: str) -> Any:
        """Return a value of ``environment.json`` by the keys that lead to it; None if it is not there."""
        found: Any = self.environment
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found
