"""What the compared runs do not share besides their results: configuration, data, code, machine; and in words, so what.

Runs go by letters, in the order in which they were given; the first, A, is the one that others are measured against.
"""

from __future__ import annotations

import contextlib
import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradingbot_exp.tracking.records import TrainingRecord

LETTERS = string.ascii_uppercase
# What `config_sha256` leaves out: it changes no number of a run.
_HARMLESS = ("experiment.", "tracking.", "hpo.")
_HARMLESS_KEYS = ("data.name", "data.path", "data.symbol", "training.progress")
# What follows from other params, or repeats one.
_DERIVED = ("model.version",)
_SPLIT = ("data.split.", "data.horizon")
RULES = ("evaluation.cost_bps", "evaluation.execution_lag", "evaluation.periods_per_year")
"""Params that a Sharpe ratio depends on, beside the forecasts."""


@dataclass(frozen=True)
class Row:
    """Something that the runs do not have in common; None for a run that does not say."""

    name: str
    values: tuple[str | None, ...]


def config_differences(records: Sequence[TrainingRecord]) -> tuple[list[Row], list[Row]]:
    """Compare the params of runs.

    Returns
    -------
    deciding, harmless : list of Row
        Keys whose values differ, in the order of the params: those that can change a result, and those that cannot
        (names, storage, what a study would search). Numbers count by value: ``0.001`` is ``1e-3``. Of runs that
        something else logged only the keys count that two runs have.
    """
    described = [_described(record) for record in records]
    ours = [each for each, record in zip(described, records, strict=True) if record.run.kind]
    if len(ours) > 1:
        wanted = {row.name for row in differing(ours)}
    else:
        wanted = {key for each in described for key in each if sum(key in other for other in described) > 1}
    rows = [row for row in differing(described) if row.name in wanted]
    first = next((row.values for row in rows if row.name == "model.learning_rate"), None)
    rows = [row for row in rows if not (row.name == "training.learning_rate" and row.values == first)]
    deciding = [row for row in rows if not _is_harmless(row.name)]
    return deciding, [row for row in rows if _is_harmless(row.name)]


def environment_differences(records: Sequence[TrainingRecord]) -> list[Row]:
    """Compare what the runs ran on: Python, torch, threads, processors, operating system, engine."""
    return differing([_environment(record) for record in records])


def differing(described: Sequence[Mapping[str, str]]) -> list[Row]:
    """Give a row for each key whose values are not the same in all mappings."""
    keys = dict.fromkeys(key for each in described for key in each)
    rows = [Row(key, tuple(each.get(key) for each in described)) for key in keys]
    return [row for row in rows if len({_canonical(value) for value in row.values}) > 1]


def same_bars(first: TrainingRecord, second: TrainingRecord) -> bool:
    """Tell whether two runs were validated on the same bars of the same data, as far as is known.

    Where one of them has no dates on record, as most trials, the way in which data are split has to be the same.
    """
    if fingerprint(first) != fingerprint(second):
        return False
    dates = validation_dates(first), validation_dates(second)
    if None in (*dates[0], *dates[1]):
        splits = [
            {key: value for key, value in each.run.params.items() if key.startswith(_SPLIT)} for each in (first, second)
        ]
        return splits[0] == splits[1]
    return dates[0] == dates[1]


def fingerprint(record: TrainingRecord) -> str | None:
    """Give the hash of the data that a run saw; None if it is not recorded."""
    card = record.artifacts.card or {}
    return record.run.tags.get("data.fingerprint") or _text(card.get("fingerprint"))


def validation_dates(record: TrainingRecord) -> tuple[str | None, str | None]:
    """Give the first and the last validation bar: of the forecasts if they are there, else of the data card."""
    table = record.artifacts.predictions
    if table is not None and len(table) and "date" in table:
        return _day(table["date"].iloc[0]), _day(table["date"].iloc[-1])
    split = (record.artifacts.card or {}).get("split")
    block = (split.get("val") if isinstance(split, Mapping) else None) or {}
    return _day(block.get("start")), _day(block.get("end"))


def only_seed_differs(records: Sequence[TrainingRecord]) -> bool:
    """Tell whether nothing that decides a result differs, the seed aside."""
    rows = [row for row in config_differences(records)[0] if row.name not in _DERIVED]
    return (
        [row.name for row in rows] == ["seed"]
        and all(same_bars(records[0], record) for record in records)
        and fingerprint(records[0]) is not None
        and len({_code(record) for record in records}) == 1
    )


def _code(record: TrainingRecord) -> tuple[str | None, ...]:
    tags = record.run.tags
    return (tags.get("mlflow.source.git.commit"), tags.get("git.dirty"), record.artifacts.patch_sha256)


def listed(words: Sequence[str]) -> str:
    """Join words: ``A``, ``A and B``, ``A, B and C``."""
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def grouped(values: Sequence[str | None]) -> str:
    """Say which runs have which value: ``A, C: ibm; B: msft``."""
    holders: dict[str | None, list[str]] = {}
    for letter, value in zip(LETTERS, values, strict=False):
        holders.setdefault(value, []).append(letter)
    return "; ".join(
        f"{', '.join(who)}: {value if value is not None else 'not recorded'}" for value, who in holders.items()
    )


def code_differences(records: Sequence[TrainingRecord]) -> list[Row]:
    """Compare commits, branches and uncommitted changes."""
    named = {"commit": "mlflow.source.git.commit", "branch": "mlflow.source.git.branch", "changed": "git.dirty"}
    described = []
    for record in records:
        facts = {label: record.run.tags[tag] for label, tag in named.items() if tag in record.run.tags}
        if record.artifacts.patch_sha256:
            facts["patch"] = record.artifacts.patch_sha256[:12]
        described.append(facts)
    return differing(described)


def _described(record: TrainingRecord) -> dict[str, str]:
    """Give a run's params and, among them, the fingerprint of its data: what data count by."""
    seen = fingerprint(record)
    return ({} if seen is None else {"data.fingerprint": seen[:12]}) | dict(record.run.params)


def _environment(record: TrainingRecord) -> dict[str, str]:
    """Flatten the parts of ``environment.json`` that can change a number or the speed."""
    tree: Any = record.artifacts.environment or {}
    get: Callable[[str, str], Any] = lambda block, key: (tree.get(block) or {}).get(key)  # noqa: E731
    named = {
        "Python": get("python", "version"),
        "torch": get("torch", "version"),
        "torch threads": get("torch", "threads"),
        "CUDA": get("torch", "cuda"),
        "deterministic": get("torch", "deterministic"),
        "operating system": get("platform", "system"),
        "architecture": get("platform", "machine"),
        "processor": get("hardware", "cpu"),
        "GPUs": ", ".join(get("hardware", "gpus") or []) or None,
        "engine": record.run.tags.get("engine"),
    }
    return {name: str(value) for name, value in named.items() if value is not None}


def _is_harmless(key: str) -> bool:
    return key.startswith(_HARMLESS) or key in _HARMLESS_KEYS


def _canonical(text: str | None) -> str | float | None:
    """Make a number of a text that is one, so that ``0.001`` and ``1e-3`` are the same value."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        number = float(text)
        return text if math.isnan(number) else number
    return text


def _day(when: object) -> str | None:
    """Write a time without the hour where that is midnight."""
    return None if when is None else str(when).replace("T", " ").removesuffix(" 00:00:00")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
