"""What the compared runs do not share besides their results: configuration, data, code, machine; and in words, so what.

Runs go by letters, in the order in which they were given; the first, A, is the one that others are measured against.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.reporting.page.metrics import same_bars
from tradingbot_exp.tracking.reading.differences import Row, config_rows, described, differing, without_branch
from tradingbot_exp.tracking.reading.facts import code_facts, hardware_facts
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_context import Surroundings

LETTERS = string.ascii_uppercase


def config_differences(records: Sequence[TrainingRecord]) -> tuple[list[Row], list[Row]]:
    """Compare the params of runs, and their data: what can change a result, and what cannot; see `config_rows`."""
    params = [described(record.run, record.made.fingerprint) for record in records]
    return config_rows(params, [bool(record.run.kind) for record in records])


def code_differences(records: Sequence[TrainingRecord]) -> list[Row]:
    """Compare commits, uncommitted changes and the package's source."""
    rows = without_branch(differing([code_facts(record.made) for record in records]))
    return [row for row in rows if row.name != "engine"]


def environment_differences(records: Sequence[TrainingRecord]) -> list[Row]:
    """Compare what the runs ran on: Python, torch, machine and its settings, engine."""
    return differing([_environment(record.made) for record in records])


def _environment(made: Surroundings) -> dict[str, str]:
    named = {"Python": made.recorded("python", "version"), "torch": made.recorded("torch", "version")}
    named |= {**hardware_facts(made.environment), "engine": made.tag("engine")}
    return {name: str(value) for name, value in named.items() if value is not None}


def only_seed_differs(records: Sequence[TrainingRecord]) -> bool:
    """Tell whether nothing that decides a result differs, the seed aside; no if that is not known."""
    rows = [row for row in config_differences(records)[0] if not facts_of(row.name).derived]
    return (
        [row.name for row in rows] == ["seed"]
        and all(same_bars(records[0], record) for record in records)
        and records[0].made.fingerprint is not None
        and not without_branch(differing([code_facts(record.made) for record in records]))
        and all(_is_code_known(record.made) for record in records)
    )


def _is_code_known(made: Surroundings) -> bool:
    """Tell whether it is recorded what a run's code was: commit or source and, in a dirty tree, the whole patch."""
    if made.recorded("git", "left_out_of_patch"):
        return False
    known = made.commit is not None or made.recorded("code", "sha256") is not None
    return known and not (made.is_dirty and made.patch is None)


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
