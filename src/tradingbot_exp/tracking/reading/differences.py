"""What runs do not have in common: a comparison of what was read of them, without a store."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradingbot_exp.tracking.reading.facts import code_facts, data_facts, hardware_facts, package_facts
from tradingbot_exp.tracking.reading.fetch import read_surroundings
from tradingbot_exp.tracking.store.lookup import find_run

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.run_context import Surroundings
    from tradingbot_exp.tracking.reading.run_record import RunRecord
    from tradingbot_exp.tracking.store.store import Store

# What `config_sha256` leaves out: it changes no number of a run.
_HARMLESS = ("experiment.", "tracking.", "hpo.", "data.columns.")
_HARMLESS_KEYS = (
    *("data.name", "data.path", "data.symbol"),
    *("training.progress", "training.checkpoint_every", "training.resume"),
)
# Packages that numbers come from; they are named first.
NUMERIC = ("python", "torch", "numpy", "pandas", "scikit-learn", "scipy", "optuna", "tradingbot_exp")


@dataclass(frozen=True)
class Row:
    """Something that runs do not have in common.

    Attributes
    ----------
    name : str
    values : tuple of (str or None)
        One a run; None for a run that does not say.
    """

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class MetricRow:
    """A metric of which two runs have different values; None for a run that does not have it."""

    name: str
    a: float | None
    b: float | None


@dataclass(frozen=True)
class RunDifferences:
    """What differs between two runs, A and B.

    Attributes
    ----------
    a, b : RunRecord
    config : tuple of Row
        Keys that can change a result, in the order of the configuration.
    names : tuple of Row
        Keys that cannot: names, storage, what a study would search.
    code : tuple of Row
        Commit, branch, uncommitted changes, the package's source, engine.
    patch : str
        Unified diff of the two patches; empty if they are the same.
    patch_files : tuple of (tuple of str)
        Files that the patch of A touches, and of B.
    data : tuple of Row
        Fingerprint, rows, period, and the rest of the data card.
    packages : tuple of Row
        Versions, Python's among them; None where a package is not installed.
    hardware : tuple of Row
        Processor, memory, GPUs, threads, operating system, variables of the environment.
    metrics : tuple of MetricRow
        Newest values.
    missing : tuple of str
        What could not be compared, and why.
    """

    a: RunRecord
    b: RunRecord
    config: tuple[Row, ...]
    names: tuple[Row, ...]
    code: tuple[Row, ...]
    patch: str
    patch_files: tuple[tuple[str, ...], tuple[str, ...]]
    data: tuple[Row, ...]
    packages: tuple[Row, ...]
    hardware: tuple[Row, ...]
    metrics: tuple[MetricRow, ...]
    missing: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing differs but names."""
        return not (self.config or self.code or self.patch or self.data or self.packages or self.hardware) and not (
            self.metrics
        )


def compare(a: Surroundings, b: Surroundings) -> RunDifferences:
    """Compare two runs in all that was recorded of both; what only one of them recorded is named in `missing`."""
    runs, missing = (a, b), list[str]()

    def both(what: str, found: Sequence[Mapping[str, str] | None]) -> tuple[Row, ...]:
        without = [letter for letter, each in zip("AB", found, strict=True) if not each]
        if without:
            who = "neither run" if len(without) > 1 else f"run {without[0]}"
            missing.append(f"{what}: not recorded by {who}")
            return ()
        return tuple(differing([each or {} for each in found]))

    config, names = config_rows([each.run.params for each in runs], [bool(each.run.kind) for each in runs])
    if not all(each.run.params for each in runs):
        config, names = list(both("configuration", [each.run.params for each in runs])), []
    elif not set(a.run.params) & set(b.run.params):
        missing.append("configuration: the two runs have no key in common")
    code = [code_facts(each) for each in runs]
    patches = ["" if each.patch is None or not all(code) else each.patch.decode("utf-8", "replace") for each in runs]
    return RunDifferences(
        a=a.run,
        b=b.run,
        config=tuple(config),
        names=tuple(names),
        code=without_branch(both("code", code)),
        patch=patch_diff(*patches),
        patch_files=(touched(patches[0]), touched(patches[1])),
        data=both("data", [data_facts(each) for each in runs]),
        packages=tuple(numeric_first(both("packages", [package_facts(each) for each in runs]))),
        hardware=both("hardware", [hardware_facts(each.environment) for each in runs]),
        metrics=metric_rows(a.run.metrics, b.run.metrics),
        missing=(
            *missing,
            *(f"{letter}: {text}" for letter, each in zip("AB", runs, strict=True) for text in each.problems),
        ),
    )


def differing(described: Sequence[Mapping[str, str]]) -> list[Row]:
    """Give a row for each key whose values are not the same in all mappings; ``0.001`` and ``1e-3`` are the same."""
    keys = dict.fromkeys(key for each in described for key in each)
    rows = [Row(key, tuple(each.get(key) for each in described)) for key in keys]
    return [row for row in rows if len({canonical(value) for value in row.values}) > 1]


def without_branch(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Leave the branch out where all are at the same commit: its name is no code."""
    if any(row.name == "commit" for row in rows):
        return tuple(rows)
    return tuple(row for row in rows if row.name != "branch")


def config_rows(params: Sequence[Mapping[str, str]], ours: Sequence[bool]) -> tuple[list[Row], list[Row]]:
    """Compare the params of runs.

    Parameters
    ----------
    params : sequence of mapping
        One a run.
    ours : sequence of bool
        Whether this package made the run; of others only the keys count that two runs have.

    Returns
    -------
    deciding, harmless : list of Row
        Keys whose values differ, in the order of the params: those that can change a result, and those that cannot.
    """
    own = [each for each, is_ours in zip(params, ours, strict=True) if is_ours]
    rows = differing(params)
    if len(own) > 1:
        wanted = {row.name for row in differing(own)}
    else:
        wanted = {key for each in params for key in each if sum(key in other for other in params) > 1}
    if not all(ours):
        rows = [row for row in rows if row.name in wanted]
    first = next((row.values for row in rows if row.name == "model.learning_rate"), None)
    rows = [row for row in rows if not (row.name == "training.learning_rate" and row.values == first)]
    return [row for row in rows if not is_harmless(row.name)], [row for row in rows if is_harmless(row.name)]


def described(run: RunRecord, fingerprint: str | None = None) -> dict[str, str]:
    """Give a run's params and, before them, the fingerprint of its data: what data count by."""
    seen = fingerprint or run.tags.get("data.fingerprint")
    return ({} if seen is None else {"data.fingerprint": seen}) | dict(run.params)


def is_harmless(key: str) -> bool:
    """Tell whether a key of the configuration changes no number of a run."""
    return key.startswith(_HARMLESS) or key in _HARMLESS_KEYS


def canonical(text: str | None) -> str | float | None:
    """Make a number of a text that is one, so that equal numbers are equal."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        number = float(text)
        return text if math.isnan(number) else number
    return text


def metric_rows(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[MetricRow, ...]:
    """Give the metrics whose values are not the same number; NaN is the same as NaN."""
    names = dict.fromkeys((*a, *b))
    return tuple(MetricRow(name, a.get(name), b.get(name)) for name in names if not same(a.get(name), b.get(name)))


def same(a: float | None, b: float | None) -> bool:
    """Tell whether two values are one number, or both NaN, or both missing."""
    if a is None or b is None:
        return a is b
    return a == b or (math.isnan(a) and math.isnan(b))


def numeric_first(rows: Sequence[Row]) -> list[Row]:
    """Put packages that numbers come from before all others."""
    rank = {name: position for position, name in enumerate(NUMERIC)}
    return sorted(rows, key=lambda row: (rank.get(row.name, len(rank)), row.name.lower()))


def touched(patch: str) -> tuple[str, ...]:
    """Name the files that a git patch changes."""
    return tuple(dict.fromkeys(re.findall(r'^diff --git "?a/.+? "?b/(.+?)"?$', patch, re.MULTILINE)))


def patch_diff(a: str, b: str) -> str:
    """Give the unified diff of two patches; empty if they are the same."""
    lines = difflib.unified_diff(a.splitlines(), b.splitlines(), "patch of A", "patch of B", lineterm="", n=2)
    return "\n".join(lines)


def diff_runs(store: Store, run_a: str, run_b: str) -> RunDifferences:
    """Find two runs and compare them.

    Raises
    ------
    RunError
        One of them is not there, or is not the only one.
    """
    a, b = (read_surroundings(store, find_run(store, word)) for word in (run_a, run_b))
    return compare(a, b)
