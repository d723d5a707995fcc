"""What a reader must not miss of the compared runs, in words: other data, other rules, other code, unfinished runs."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_exp.reporting.comparison.context import LETTERS, environment_differences, grouped, listed
from tradingbot_exp.reporting.comparison.pairs import bars_of
from tradingbot_exp.reporting.page.metrics import RULES, validation_dates
from tradingbot_exp.reporting.page.page import Notice
from tradingbot_exp.tracking.reading.differences import differing
from tradingbot_exp.tracking.reading.records import TrainingRecord

_ENDINGS = {
    "RUNNING": "is still running: its numbers will change",
    "SCHEDULED": "has not started: there are no numbers yet",
    "FAILED": "failed: its numbers are those until then",
    "KILLED": "was interrupted: its numbers are those until then",
}


def status_notices(records: Sequence[TrainingRecord]) -> list[Notice]:
    """Say which runs are not finished, and which lack what a comparison takes."""
    lettered = list(zip(LETTERS, records, strict=False))
    notices = []
    for letter, record in lettered:
        if record.run.status in _ENDINGS:
            error = record.run.tags.get("error")
            notices.append(Notice(f"{letter} {_ENDINGS[record.run.status]}{f' ({error})' if error else ''}."))
    foreign = [letter for letter, record in lettered if not record.run.kind]
    without = [(letter, record.run.kind) for letter, record in lettered if record.run.kind and bars_of(record) is None]
    if foreign:
        notices.append(Notice(f"{_was(foreign)} logged by something else: only what is on record can be compared."))
    if without:
        verb = "have" if len(without) > 1 else "has"
        trial = " A study keeps the forecasts of its best trial; hpo.keep=all keeps all."
        kept = trial if any(kind == "trial" for _, kind in without) else ""
        who = listed([letter for letter, _ in without])
        notices.append(Notice(f"{who} {verb} no forecasts on record, so only the metrics can be compared.{kept}"))
    for letter, record in lettered:
        notices += [Notice(f"{letter}: not readable: {problem}") for problem in record.artifacts.problems]
    return notices


def data_notices(records: Sequence[TrainingRecord]) -> list[Notice]:
    """Say whether the runs saw the same data, the same validation bars, and were judged by the same rules."""
    notices = []
    marks = [record.made.fingerprint for record in records]
    known = [mark for mark in marks if mark is not None]
    if len(set(known)) > 1:
        seen = [
            f"{_data_name(record)} {mark[:8]}" if mark else None for record, mark in zip(records, marks, strict=True)
        ]
        notices.append(
            Notice(f"These runs saw different data: their metrics are not comparable ({grouped(seen)}).", "bad")
        )
    if len(known) < len(marks):
        lost = [letter for letter, mark in zip(LETTERS, marks, strict=False) if mark is None]
        notices.append(
            Notice(f"Which data {listed(lost)} saw is not recorded, so nobody can say whether metrics are comparable.")
        )
    dates = [validation_dates(record) for record in records]
    if len({pair for pair in dates if None not in pair}) > 1:
        spans = [f"{start} to {end}" if start and end else None for start, end in dates]
        notices.append(
            Notice(
                f"The runs were validated on different bars ({grouped(spans)}): their metrics are not comparable. The "
                "paired differences, where there are any, use only bars that both runs have."
            )
        )
    for keys, what in (
        (("data.target", "data.horizon"), "forecast different things: errors and correlations are not comparable"),
        (RULES, "were judged by different rules: returns and Sharpe ratios are not like for like"),
        (("training.loss",), "were trained on different losses: final and best losses are not comparable"),
    ):
        rows = [row for row in differing([record.run.params for record in records]) if row.name in keys]
        rows = [row for row in rows if None not in row.values]
        if rows:
            notices.append(Notice(f"The runs {what} ({'; '.join(f'{r.name}: {grouped(r.values)}' for r in rows)})."))
    return notices


def code_notices(records: Sequence[TrainingRecord]) -> list[Notice]:
    """Say whether the runs came from the same code, and from the same kind of machine."""
    notices = []
    runs = [record.made for record in records]
    commits = [made.commit for made in runs]
    if len({commit for commit in commits if commit}) > 1:
        where = grouped([commit and commit[:10] for commit in commits])
        notices.append(
            Notice(f"The runs came from different commits ({where}): part of a difference may be the code's.")
        )
    dirty = [i for i, made in enumerate(runs) if made.is_dirty]
    if dirty:
        names = [LETTERS[i] for i in dirty]
        patches = {runs[i].patch_sha256 for i in dirty}
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


def _was(letters: Sequence[str]) -> str:
    return f"{listed(letters)} {'were' if len(letters) > 1 else 'was'}"


def _data_name(record: TrainingRecord) -> str:
    return record.run.tags.get("data.name") or record.run.params.get("data.name", "data")
