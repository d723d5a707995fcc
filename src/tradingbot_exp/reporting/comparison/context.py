"""What the compared runs do not share besides their results: configuration, data, code, machine; and so what."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.plots.numbers import count
from tradingbot_exp.reporting.comparison.compared import LETTERS, Compared, grouped
from tradingbot_exp.reporting.page.configuration import shown
from tradingbot_exp.reporting.page.metrics import same_bars
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Notice, Paragraph, Table
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.differences import Row, config_rows, described, differing, without_branch
from tradingbot_exp.tracking.reading.facts import code_facts, hardware_facts
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_context import RunContext


def context_blocks(compared: Compared) -> list[Block]:
    """Show what differs in configuration, code and environment."""
    records = compared.records
    deciding, harmless = config_differences(records)

    def table(caption: str, rows: Sequence[Row]) -> Table:
        """Lay out what differs; what is not as in A stands out."""
        cells = [[Cell(row.name), *(_cell(value, row.values[0]) for value in row.values)] for row in rows]
        return Table(caption, [Column("key"), *compared.columns()], cells)

    blocks: list[Block] = []
    if deciding:
        blocks.append(table("Configuration: keys that can change a result", deciding))
    elif sum(bool(record.run.params) for record in records) < 2:
        blocks.append(Notice("No two runs have params on record, so their configurations cannot be compared.", "muted"))
    else:
        blocks.append(Paragraph("The configurations are the same in all that can change a result."))
    if harmless:
        folded = table("Names, storage and search settings", harmless)
        blocks.append(Details(f"Differences that change no result: {count(len(harmless), 'key')}", [folded]))
    blocks += [each for each in code_notices(records) if each.tone == "muted"]
    found = {"Code": code_differences(records), "Environment": environment_differences(records)}
    return [*blocks, *(table(caption, rows) for caption, rows in found.items() if rows)]


def _cell(value: str | None, reference: str | None) -> Cell:
    return Cell(shown(value), tone="plain" if value == reference else "warning")


def config_differences(records: Sequence[TrainingRecord]) -> tuple[list[Row], list[Row]]:
    """Compare the params of runs, and their data: what can change a result, and what cannot; see `config_rows`."""
    params = [described(record.run, record.fingerprint) for record in records]
    return config_rows(params, [bool(record.run.kind) for record in records])


def code_differences(records: Sequence[TrainingRecord]) -> list[Row]:
    """Compare commits, uncommitted changes and the package's source."""
    rows = without_branch(differing([code_facts(record) for record in records]))
    return [row for row in rows if row.name != "engine"]


def environment_differences(records: Sequence[TrainingRecord]) -> list[Row]:
    """Compare what the runs ran on: Python, torch, machine and its settings, engine."""
    return differing([_environment(record) for record in records])


def _environment(made: RunContext) -> dict[str, str]:
    named = {"Python": made.recorded("python", "version"), "torch": made.recorded("torch", "version")}
    named |= {**hardware_facts(made.environment), "engine": made.tag("engine")}
    return {name: str(value) for name, value in named.items() if value is not None}


def only_seed_differs(records: Sequence[TrainingRecord]) -> bool:
    """Tell whether nothing that decides a result differs, the seed aside; no if that is not known."""
    rows = [row for row in config_differences(records)[0] if not facts_of(row.name).derived]
    return (
        [row.name for row in rows] == ["seed"]
        and all(same_bars(records[0], record) for record in records)
        and records[0].fingerprint is not None
        and not without_branch(differing([code_facts(record) for record in records]))
        and all(_is_code_known(record) for record in records)
    )


def _is_code_known(made: RunContext) -> bool:
    """Tell whether it is recorded what a run's code was: commit or source and, in a dirty tree, the whole patch."""
    if made.recorded("git", "left_out_of_patch"):
        return False
    known = made.commit is not None or made.recorded("code", "sha256") is not None
    return known and not (made.is_dirty and made.patch is None)


def code_notices(records: Sequence[TrainingRecord]) -> list[Notice]:
    """Say whether the runs came from the same code, and from the same kind of machine."""
    notices = []
    commits = [record.commit for record in records]
    if len({commit for commit in commits if commit}) > 1:
        where = grouped([commit and commit[:10] for commit in commits])
        notices.append(
            Notice(f"The runs came from different commits ({where}): part of a difference may be the code's.")
        )
    dirty = [i for i, record in enumerate(records) if record.is_dirty]
    if dirty:
        names = [LETTERS[i] for i in dirty]
        patches = {records[i].patch_sha256 for i in dirty}
        if len(dirty) == len(records) and len(patches) == 1 and None not in patches:
            notices.append(Notice("All runs came from the same uncommitted changes.", "muted"))
        else:
            known = len(patches) > 1 and None not in patches
            tail = "their patches differ" if known else "whether the code was the same cannot be told from the commit"
            notices.append(
                Notice(
                    f"{listed(names)} came from a work tree with uncommitted changes: {tail}.",
                    "warning" if known else "muted",
                )
            )
    machine = environment_differences(records)
    if machine:
        names = [row.name for row in machine]
        notices.append(
            Notice(
                f"The runs ran in different environments ({listed(names)}): a seed may give other numbers there.",
                "muted",
            )
        )
    return notices
