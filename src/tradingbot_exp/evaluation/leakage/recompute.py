"""Features computed again on bars that are cut or whose future is changed: the past must not move."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.data.features import FittedFeature, compute_features, is_ours, warmup_of
from tradingbot_exp.data.fitted import fit_features
from tradingbot_exp.errors import DataError
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.leakage.altered import dated_later, with_another_future
from tradingbot_exp.evaluation.leakage.points import CHANGED, CUT, MORE, Points, inside_its_periods
from tradingbot_exp.runtime.text import day

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

Fitted = Mapping[str, FittedFeature]
TOLERANCE = 1e-9
"""How far a value may move, as a share of the feature's largest absolute value.

Not bit for bit, since a feature may sum its past in another order when there are more bars: that moves it by 1e-16 of
its size, or some thousand times that. A float32 input tells 6e-8 apart, so a leak below this cannot reach a network.
"""
QUICK = 0.2  # seconds of processor time that the first four points may take for there to be more
MEMORY = 4096
"""Bars that a feature is given to settle on a segment, besides the warm-up."""
LEFT_OUT = 7  # bars at the start


def check_features_know_no_future(
    data: PreparedData,
    bars: pd.DataFrame,
    names: Sequence[str],
    settled: Collection[str] = (),
    *,
    quick: bool = True,
) -> tuple[list[str], list[str]]:
    """Compute features again on bars that are cut, and on bars whose future is changed, and see the past unmoved.

    Both are done twice: once inside the train rows, and once inside the validation rows. A point lies inside its day,
    week and month where there is such a bar, so that a feature that looks to the end of one is caught. If that was
    quick, the bars are cut at 40 more points all over train and validation rows, for features that seldom look ahead.

    Parameters
    ----------
    data : PreparedData
    bars : DataFrame of shape (n, ...)
        What the features were computed from; row i of `data` is bar i after the features' warm-up.
    names : sequence of str
        Registered features among those of `data`.
    settled : collection of str
        Features that have passed on segments, and are not computed again.
    quick : bool
        False where others were too slow for 40 more points, on segments.

    Returns
    -------
    cut, changed : list of str
        Dates of the points; at the end of `cut` how many more there were.

    Raises
    ------
    DataError
        A row moved.
    """
    index = pd.DatetimeIndex(bars.index)
    warmup, points = warmup_of(data.feature_names), Points.of(data, bars)
    names = [name for name in names if name not in settled]
    whole = data.raw[: data.val.stop, [data.feature_names.index(name) for name in names]]

    def see(t: int, deed: str) -> None:
        other = bars.iloc[: t + 1].copy() if deed == CUT else with_another_future(bars, t)
        again = _compute(other, names, data.fitted, index[t], deed)
        _see_unmoved((whole[: t + 1 - warmup], again[warmup : t + 1]), names, data.fitted, bars, t, deed)

    started = time.process_time()
    for t, deed in points.four if names else ():
        see(t, deed)
    quick = quick and time.process_time() - started < QUICK
    for t in points.more if names and quick else ():
        see(t, CUT)
    cut, changed = ([day(index[t]) for t, deed in points.four if deed == each] for each in (CUT, CHANGED))
    return cut + [f"{MORE} other bars"] * quick, changed


def see_cut(data: PreparedData, bars: pd.DataFrame, names: Sequence[str]) -> None:
    """Compute features again on bars that end inside the validation rows, and see the past unmoved.

    Raises
    ------
    DataError
        A row moved.
    """
    index, warmup = pd.DatetimeIndex(bars.index), warmup_of(data.feature_names)
    t = inside_its_periods(index, warmup + (data.val.start + data.val.stop - 1) // 2)
    whole = data.raw[: t + 1 - warmup, [data.feature_names.index(name) for name in names]]
    again = _compute(bars.iloc[: t + 1].copy(), names, data.fitted, index[t], CUT)
    _see_unmoved((whole, again[warmup:]), names, data.fitted, bars, t, CUT)


def features_of_more_than_bars(
    data: PreparedData, bars: pd.DataFrame, names: Sequence[str], settled: Collection[str] = ()
) -> list[str]:
    """Find features whose values come of something else than the bars, which nobody can cut or change.

    Such as a file that was read when the module was imported: what it knows of the future stays where it is. So the
    bars are dated 52 weeks later, which must move nothing, and all are changed, which must move something. A feature
    of the calendar is found too, unless it goes by weekday or time of day. What a feature learned from the train bars
    is held, and has to be something else where they are changed. What is added by a bar's place in the file is found;
    what goes by the place in another way, or by a close that is recognised, is not.

    Parameters
    ----------
    data : PreparedData
    bars : DataFrame of shape (n, ...)
    names : sequence of str
    settled : collection of str
        Features that have passed on segments. Those of a user's are seen on the first bars alone: on later ones they
        are known to go neither by the date nor by the place. What is found on the first bars is seen on all.

    Returns
    -------
    list of str
        In the order of `names`.
    """
    sure = [name for name in names if name in settled and name not in data.fitted]
    first = bars.iloc[: data.train.start + memory_of(data) + LEFT_OUT]
    others = [name for name in sure if not is_ours(name)]
    doubtful = {*names}.difference(sure).union(_of_more(data, first, others, first=True))
    return _of_more(data, bars, [name for name in names if name in doubtful])


def _of_more(data: PreparedData, bars: pd.DataFrame, names: Sequence[str], *, first: bool = False) -> list[str]:
    """Find features of more than the bars; the `first` alone will do for those that segments have cleared."""
    if not names:
        return []
    later, changed = dated_later(bars), with_another_future(bars, -1)
    try:
        again = [compute_features(each, names, data.fitted).to_numpy() for each in (later, changed)]
    except Exception:  # one of them wants the dates that it knows, or cannot do with other prices
        if len(names) == 1:
            return list(names)
        return [each for name in names for each in _of_more(data, bars, [name], first=first)]
    warmup, columns = warmup_of(data.feature_names), [data.feature_names.index(name) for name in names]
    rows = slice(data.train.start, min(data.val.stop, len(bars) - warmup))
    plain = data.raw[rows, columns]
    known = data.raw[data.train.start : data.val.stop]
    size = TOLERANCE * np.array([largest(known[:, column]) for column in columns])
    dated, moved = (each[warmup:][rows] for each in again)
    same = np.all(np.abs(plain - dated) <= size, axis=0)
    follows = same & np.any((dated if first else plain) != moved, axis=0)  # to the bit, of as many bars
    learned = _learned_from_bars(data, bars, changed) if data.fitted and not first else {}
    by_place = _by_place(data, names, size, (bars, plain), (changed, moved))
    fine = follows & ~by_place & [learned.get(name, True) for name in names]
    return [name for name, each in zip(names, fine, strict=True) if not each]


def largest(values: Floats) -> float:
    """Return the largest absolute value, 0 of none, without a copy of them."""
    return float(max(values.max(initial=0.0), -values.min(initial=0.0)))


def memory_of(data: PreparedData) -> int:
    """Count the bars before a segment that its first value may come of."""
    return MEMORY + warmup_of(data.feature_names)


def _by_place(
    data: PreparedData, names: Sequence[str], size: Floats, *known: tuple[pd.DataFrame, Floats]
) -> NDArray[np.bool_]:
    """Tell of each feature whether its values have a part that goes by a bar's place in the file, whatever the bars.

    Where the first bars are left out, what goes by the place moves by as much for these bars as for others. A feature
    with a long memory moves too, but otherwise for other bars. `known` are bars, and the features' values on those of
    the train and validation rows that they have; `size` is a move of no account.
    """
    first, rows = LEFT_OUT + warmup_of(data.feature_names), slice(data.train.start, data.val.stop)
    moves = []
    for bars, values in known:
        later = compute_features(bars.iloc[LEFT_OUT:], names, data.fitted).to_numpy()
        start = max(rows.start, LEFT_OUT)
        shifted = later[first - LEFT_OUT - LEFT_OUT :][start : rows.stop]
        moves.append(values[start - rows.start :] - shifted)
    own, other = moves
    alike = np.abs(own - other) <= size + 1e-6 * np.abs(own)
    return np.asarray((np.abs(own) > size).any(axis=0) & alike.all(axis=0))


def _learned_from_bars(data: PreparedData, bars: pd.DataFrame, changed: pd.DataFrame) -> dict[str, bool]:
    """Tell of each feature that is fitted whether it learns something else from other train bars."""
    warmup, names = warmup_of(data.feature_names), list(data.fitted)
    plain = data.raw[: data.val.stop, [data.feature_names.index(name) for name in names]]
    train = bars.iloc[: warmup + data.train.stop]
    again = compute_features(bars, names, fit_features(names, train)).to_numpy()[warmup:][: data.val.stop]
    differs = np.any(np.abs(plain - again) > TOLERANCE * np.max(np.abs(plain), axis=0), axis=0)
    if differs.any():
        raise DataError(
            f"the feature {names[int(differs.argmax())]} is another one each time that it is fitted to the same train "
            "bars. Seed what is random in it (random_state=0 of scikit-learn), or leave it out of data.features."
        )
    try:
        other = fit_features(names, changed.iloc[: warmup + data.train.stop])
        again = compute_features(bars, names, other).to_numpy()[warmup:][: data.val.stop]
    except Exception:  # it cannot do with other prices
        return dict.fromkeys(names, False)
    return dict(zip(names, map(bool, np.any(plain != again, axis=0)), strict=True))


def _compute(bars: pd.DataFrame, names: Sequence[str], fitted: Fitted, t: pd.Timestamp, deed: str) -> Floats:
    try:
        return compute_features(bars, names, fitted).to_numpy()
    except Exception as error:
        if len(names) > 1:
            for name in names:  # the one that raises is named
                _compute(bars, [name], fitted, t, deed)
        raise DataError(
            f"the feature {names[0]} cannot be computed where the bars after {t} {deed}: {type(error).__name__}: "
            f"{error}. A feature has to do with the bars up to its own."
        ) from error


def _see_unmoved(  # noqa: PLR0917 - what is compared, and all that a message names
    both: tuple[Floats, Floats], names: Sequence[str], fitted: Fitted, bars: pd.DataFrame, t: int, deed: str
) -> None:
    """Refuse features of which a row up to bar `t` has moved; both arrays have the shape (rows, features)."""
    before, now = both
    if before.tobytes() == now.tobytes():
        return
    slack = TOLERANCE * np.max(np.abs(before), axis=0)
    moved = ~(np.abs(before - now) <= slack)  # NaN counts as moved
    leaking = [column for column in range(len(names)) if moved[:, column].any()]
    if not leaking:
        return
    column = leaking[0]
    row = int(moved[:, column].argmax())
    name, when = names[column], bars.index[t + 1 - len(before) + row]
    _see_reproducible(bars, name, fitted)
    others = ", ".join(names[each] for each in leaking[1:])
    raise DataError(
        f"the feature {name} knows its future: its value on {when} is {before[row, column]:.10g}, and "
        f"{now[row, column]:.10g} if the bars after {bars.index[t]} {deed}; of the {len(before)} rows up to there, "
        f"{int(moved[:, column].sum())} move. A feature may use its own bar and earlier ones alone: no centred window, "
        f"no shift(-n), no statistic of the whole series. Mend it, or leave it out of data.features."
        + (f" The same is wrong with: {others}." if others else "")
    )


def _see_reproducible(bars: pd.DataFrame, name: str, fitted: Fitted) -> None:
    """Refuse a feature that is another one each time, which only looks like a leak."""
    warmup = warmup_of([name])
    first, second = (compute_features(bars.copy(), [name], fitted).to_numpy()[warmup:, 0] for _ in range(2))
    differs = (first != second) & ~(np.isnan(first) & np.isnan(second))
    if differs.any():
        row = int(differs.argmax())
        raise DataError(
            f"the feature {name} is another one each time that it is computed: {first[row]:.10g} and then "
            f"{second[row]:.10g} on {bars.index[warmup + row]}. Seed what is random in it, or leave it out of "
            "data.features."
        )
