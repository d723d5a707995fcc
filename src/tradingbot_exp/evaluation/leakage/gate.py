"""The leak gate: from prepared data to the proof that no row trained or judged on knows its future, or an error.

What a model is given at row t may depend on the bars up to t alone. So the features are computed again on bars that
end at t, and on bars whose future was changed, and the rows up to t must not move. The scaler must be that of the
train rows, and no label of one block may reach into the next. Columns that cannot be computed again are compared
with the target instead: see `tradingbot_exp.evaluation.leakage.suspicion`. Rows that are other rows once more are found
by `tradingbot_exp.evaluation.leakage.repeats`.

On the default data it takes 0.23 s of processor time (2026-11-30), nearly all of it the 44 points at which the bars are
cut or changed.

Of 50,000 bars and more, features are computed once on segments of the bars first, and on all bars only those that
differ there: see `tradingbot_exp.evaluation.leakage.segments`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from tradingbot_exp.config.choices import Inputs
from tradingbot_exp.data.columns import OHLCV
from tradingbot_exp.data.features import FEATURES
from tradingbot_exp.evaluation.leakage.panels import check_bars, columns_by_symbol
from tradingbot_exp.evaluation.leakage.repeats import Repeats, all_differ, repeated_rows
from tradingbot_exp.evaluation.leakage.seams import check_fold, check_gap
from tradingbot_exp.evaluation.leakage.suspicion import Suspicion, suspicious_columns

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

log = logging.getLogger(__name__)

_checked: WeakKeyDictionary[PreparedData, LeakReport] = WeakKeyDictionary()


@dataclass(frozen=True)
class LeakReport:
    """What the gate found in data that passed it.

    Attributes
    ----------
    words : str
        What was checked, as the tag ``leakage.checked`` has it.
    suspicious : tuple of Suspicion
        Columns whose correlation with the target is too good to be true.
    unchecked : tuple of str
        Columns that cannot be computed again, and features that come of more than the bars: whether they know their
        future, nobody can see.
    repeated : Repeats or None
        Rows that are other rows once more.
    """

    words: str
    suspicious: tuple[Suspicion, ...] = ()
    unchecked: tuple[str, ...] = ()
    repeated: Repeats | None = None

    @property
    def inputs(self) -> Inputs:
        """In one word, what is known of all inputs."""
        if self.suspicious or self.repeated:
            return "leaks"
        return "not checked" if self.unchecked else "checked"

    @property
    def why(self) -> str:
        """Say why nothing can be believed that is found on these data; empty if nothing is known against them."""
        said = [] if self.repeated is None else [self.repeated.why]
        if self.suspicious:
            named = ", ".join(each.short for each in self.suspicious)
            said.insert(
                0,
                f"{named} looks too good to be true by its correlation with the target, and a column that is known "
                "only later makes any winner look real",
            )
        return "; ".join(said)

    def tags(self) -> dict[str, str | None]:
        """Return the tags of a run on these data."""
        found = [each.short for each in (*self.suspicious, self.repeated) if each is not None]
        return {
            "leakage.checked": self.words,
            "leakage.suspicious": ", ".join(found) or None,
            "leakage.not_checked": ", ".join(self.unchecked) or None,
        }


def check_leaks(data: PreparedData) -> LeakReport:
    """Let data pass the gate, once a process for all jobs that share them.

    Returns
    -------
    LeakReport
        Suspicious columns and repeated rows are said in the log too, the first time.

    Raises
    ------
    DataError
        A feature uses its future, the scaler other rows than the train rows, or a label reaches into the next block;
        the message names the feature and the first bar.
    """
    if data not in _checked:
        _checked[data] = report = _check(data)
        for found in (*report.suspicious, report.repeated):
            if found is not None:
                log.warning("%s", found)
    return _checked[data]


def _check(data: PreparedData) -> LeakReport:
    has_bars = bool(data.panel.bars)
    computed = [name for name in data.feature_names if name in FEATURES] if has_bars else []
    given = [name for name in data.feature_names if name not in computed and (not has_bars or name not in OHLCV)]
    said: list[str] = []
    beside: list[str] = []
    if computed:
        words, beside = check_bars(data, computed)
        said.append(words)
    if beside:
        said.append(f"{', '.join(beside)}: of more than the bars, which nobody can cut or change; not checked")
    check_fold(data)
    said.append("the scaler is that of the train rows alone")
    if "split" in data.card:  # arrays come cut by the user
        check_gap(data, data.val, data.test)
        said.append("no label reaches into the next block")
    if given:
        said.append(f"{', '.join(given)}: cannot be computed again, compared with the target")
    order = data.layout.take(slice(0, data.val.stop)).by_symbol
    suspicious = suspicious_columns(data.raw, data.target, data.feature_names, data.horizon, order)
    return LeakReport("; ".join(said), suspicious, (*beside, *given), _repeated(data))


def _repeated(data: PreparedData) -> Repeats | None:
    if all_differ(columns_by_symbol(data)):
        return None
    outcome, layout = data.target[:, None], data.layout
    if data.next_return is not None:
        outcome = np.column_stack([outcome, data.next_return])
    features = np.column_stack([*columns_by_symbol(data)])
    return repeated_rows(features, layout.ordered(outcome), data.index[layout.by_symbol])
