"""What a person, or a program, reads of an opened test set."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tradingbot_exp.config.metrics import TABLE
from tradingbot_exp.data.identity import joined
from tradingbot_exp.evaluation.metrics.target import NAIVE
from tradingbot_exp.terminal.summary import metric_text, rows
from tradingbot_exp.tracking.reading.openings import how_often

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.looks import Look
    from tradingbot_exp.tracking.reading.openings import Opening

_MOST_LOOKS = 10


def as_table(opened: Opened) -> str:
    """Lay out the model's metrics with their intervals, what they were on validation, and the naive baselines."""
    bars = f"{opened.instrument}, {opened.counted('bars')}, {opened.start[:10]} to {opened.end[:10]}"
    lines = [
        "",
        f"Test set of the run {opened.name}  (id {opened.run_id})",
        f"  {bars}, opened for the {_ordinal(opened.number)} time",
        "",
        f"  {'test':<28}{'model':>12}  {'95 % interval':<26}{'validation':>12}  baseline",
    ]
    for label, name, form, baseline, baseline_name in rows():
        test = f"test_{name}"
        if TABLE[name].panel and test not in opened.metrics:  # of one instrument there is none
            continue
        pair = opened.intervals.get(test)
        interval = "" if pair is None else f"{pair[0]:{form}} to {pair[1]:{form}}"
        line = f"  {label:<28}{metric_text(opened.metrics, test, form):>12}  {interval:<26}"
        line += f"{metric_text(opened.validation, f'val_{name}', form):>12}"
        if baseline_name:
            rival = f"test_{baseline_name}"
            pair = opened.intervals.get(rival)
            interval = "" if pair is None else f", {pair[0]:{form}} to {pair[1]:{form}}"
            line += f"  {metric_text(opened.metrics, rival, form)} ({baseline or opened.naive}{interval})"
        lines.append(line.rstrip())
    lines += [""] + [f"  {name} is {reason}." for name, reason in opened.undefined.items()]
    if opened.earlier:
        lines.append(f"  Dates that overlap with these were {how_often(opened.earlier)} before in this store:")
        lines += [
            f"    {each.at[:16]}  {each.by}  {'for a refit of' if each.is_refit else 'for'} the run {each.evaluated}"
            for each in opened.earlier
        ]
        lines.append("  A test set is out of sample once: the more often it is opened, the less these numbers say.")
    return "\n".join([*lines, *looks_in_lines(opened), f"  recorded as the run {opened.evaluation_run_id}", ""])


def looks_in_lines(opened: Opened) -> list[str]:
    """Name who has looked at the test dates before; no line if nobody has."""
    if not opened.looked:
        return []
    lines = [
        "  Others learned from these dates, were judged on them or forecast them; who knows them is not blind here:"
    ]
    lines += [f"    {look}" for look in opened.looked[:_MOST_LOOKS]]
    if len(opened.looked) > _MOST_LOOKS:
        lines.append(f"    and {len(opened.looked) - _MOST_LOOKS:,} more")
    return lines


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


@dataclass(frozen=True, repr=False)
class Opened:
    """What came of an opening.

    Attributes
    ----------
    run_id, name : str
        The run whose model was judged.
    evaluation_run_id : str
        The run of kind ``test_evaluation`` that records the opening.
    instrument, start, end : str
        Dates of the first and the last test bar.
    bars : int
        Of a panel, dates that have bars.
    earlier : tuple of Opening
        Openings before this one of dates that overlap, in the whole store.
    looked : tuple of Look
        Other runs and studies of this market that learned from these dates or were judged by them, and forecasts.
    metrics, validation : dict of str to float
        ``test_…``, and ``val_…`` as the run recorded them; of several folds, of the last one, whose model it is.
    intervals : dict of str to (float, float)
        95 % confidence intervals by metric.
    undefined : dict of str to str
        Metrics without a value, with the reason.
    symbols : int
        Of how many instruments the bars are.
    naive : str
        What the forecast that takes no side is called, whose error is ``test_zero_mse``.
    """

    run_id: str
    name: str
    evaluation_run_id: str
    instrument: str
    start: str
    end: str
    bars: int
    earlier: tuple[Opening, ...]
    looked: tuple[Look, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    naive: str = NAIVE[0.0]
    symbols: int = 1

    def counted(self, noun: str) -> str:
        """Say how many bars there are: ``486 bars``, of a panel ``486 bars of 4 symbols``."""
        return f"{self.bars:,} {noun}" + (f" of {self.symbols} symbols" if self.symbols > 1 else "")

    @property
    def number(self) -> int:
        """How many times these dates have been opened, this time included."""
        return len(self.earlier) + 1

    @property
    def is_first(self) -> bool:
        """Whether some of the dates have never been opened before."""
        seen = joined((each.start, each.end) for each in self.earlier)
        return not any(first <= self.start and self.end <= last for first, last in seen)

    def __repr__(self) -> str:
        return f"Opened({self.name!r}, run_id={self.run_id!r}, number={self.number})"

    def __str__(self) -> str:
        """Lay the result out as the command ``evaluate`` does."""
        return as_table(self)

    def _repr_html_(self) -> str:
        """Show the result in a notebook."""
        return f"<pre>{html.escape(as_table(self))}</pre>"
