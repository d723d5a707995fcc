"""Features computed again on bars that are cut or whose future is changed: the past must not move."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.data.columns import OHLCV
from tradingbot_exp.data.features import WARMUP, FittedFeature, compute_features, warmup_of
from tradingbot_exp.data.fitted import fit_features
from tradingbot_exp.errors import DataError
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.runtime.text import day

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

Fitted = Mapping[str, FittedFeature]
TOLERANCE = 1e-9
"""How far a value may move, as a share of the feature's largest absolute value.

Not bit for bit, since a feature may sum its past in another order when there are more bars: that moves it by 1e-16 of
its size, or some thousand times that. A float32 input tells 6e-8 apart, so a leak below this cannot reach a network.
"""
_CUT, _CHANGED = "are left out", "are changed"
_MORE = 40
"""Further bars that the data are made to end with, where features are quickly computed.

A feature that looks ahead on a share q of the bars alone, such as one day a month, is seen at each point with the
probability q: at 44 in 90 % of cases for 5 % of the bars, at 4 in 19 %.
"""
_QUICK = 0.2  # seconds of processor time that the first four points may take for there to be more
_LEFT_OUT = 7  # bars at the start
_SEARCH = 40  # bars to go back for a row inside its day, week and month


def check_features_know_no_future(
    data: PreparedData, bars: pd.DataFrame, names: Sequence[str]
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

    Returns
    -------
    cut, changed : list of str
        Dates of the points; at the end of `cut` how many more there were.

    Raises
    ------
    DataError
        A row moved.
    """
    columns = [data.feature_names.index(name) for name in names]
    index = pd.DatetimeIndex(bars.index)
    warmup = warmup_of(data.feature_names)
    train, val = warmup + data.train.start, warmup + data.val.start
    last_train, last_val = warmup + data.train.stop - 1, warmup + data.val.stop - 1
    cuts = [_inside_its_periods(index, (train + last_train) // 2), _inside_its_periods(index, (val + last_val) // 2)]
    changes = [_inside_its_periods(index, last_train), _inside_its_periods(index, last_val)]
    whole = data.raw[: data.val.stop, columns]

    def see(t: int, deed: str) -> None:
        other = bars.iloc[: t + 1].copy() if deed == _CUT else _with_another_future(bars, t)
        again = _compute(other, names, data.fitted, index[t], deed)
        _see_unmoved((whole[: t + 1 - warmup], again[warmup : t + 1]), names, data.fitted, bars, t, deed)

    started, more = time.process_time(), []
    for t, deed in ((cuts[0], _CUT), (cuts[1], _CUT), (changes[0], _CHANGED), (changes[1], _CHANGED)):
        see(t, deed)
    if time.process_time() - started < _QUICK:
        more = [f"{_MORE} other bars"]
        for part in range(_MORE):
            see(_between(train, last_val, part), _CUT)
    return [*(day(index[t]) for t in cuts), *more], [day(index[t]) for t in changes]


def features_of_more_than_bars(data: PreparedData, bars: pd.DataFrame, names: Sequence[str]) -> list[str]:
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

    Returns
    -------
    list of str
        In the order of `names`.
    """
    later = bars.set_axis(pd.DatetimeIndex(bars.index) + pd.DateOffset(days=364))
    changed = _with_another_future(bars, -1)
    try:
        again = [compute_features(each, names, data.fitted).to_numpy() for each in (later, changed)]
    except Exception:  # one of them wants the dates that it knows, or cannot do with other prices
        if len(names) == 1:
            return list(names)
        return [each for name in names for each in features_of_more_than_bars(data, bars, [name])]
    warmup, rows = warmup_of(data.feature_names), slice(data.train.start, data.val.stop)
    plain = data.raw[rows, [data.feature_names.index(name) for name in names]]
    dated, moved = (each[warmup:][rows] for each in again)
    same = np.all(np.abs(plain - dated) <= TOLERANCE * np.max(np.abs(plain), axis=0), axis=0)
    follows = same & np.any(plain != moved, axis=0)
    learned = _learned_from_bars(data, bars, changed) if data.fitted else {}
    by_place = _by_place(data, names, (bars, plain), (changed, moved))
    fine = follows & ~by_place & [learned.get(name, True) for name in names]
    return [name for name, each in zip(names, fine, strict=True) if not each]


def _by_place(data: PreparedData, names: Sequence[str], *known: tuple[pd.DataFrame, Floats]) -> NDArray[np.bool_]:
    """Tell of each feature whether its values have a part that goes by a bar's place in the file, whatever the bars.

    Where the first bars are left out, what goes by the place moves by as much for these bars as for others. A feature
    with a long memory moves too, but otherwise for other bars. `known` are bars, and the features' values on the train
    and validation rows.
    """
    first, rows = _LEFT_OUT + warmup_of(data.feature_names), slice(data.train.start, data.val.stop)
    moves = []
    for bars, values in known:
        later = compute_features(bars.iloc[_LEFT_OUT:], names, data.fitted).to_numpy()
        start = max(rows.start, _LEFT_OUT)
        shifted = later[first - _LEFT_OUT - _LEFT_OUT :][start : rows.stop]
        moves.append(values[start - rows.start :] - shifted)
    own, other = moves
    size = TOLERANCE * np.max(np.abs(known[0][1]), axis=0)
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


def _between(first: int, last: int, part: int) -> int:
    """Return a bar of the given one of `_MORE` equal parts, at a place in it that keeps no step with any calendar."""
    share = (part + (part + 1) * 0.6180339887498949 % 1) / _MORE  # the golden ratio
    return first + int(share * (last - first))


def _inside_its_periods(index: pd.DatetimeIndex, t: int) -> int:
    """Return the last position up to `t` whose next bar is of the same day, week and month; `t` if none is near."""
    start = max(WARMUP + 1, t - _SEARCH)
    near = index[start : t + 2].tz_localize(None)
    days = near.to_numpy().astype("datetime64[D]").astype(np.int64)
    weeks, months = (days + 3) // 7, near.to_numpy().astype("datetime64[M]").astype(np.int64)  # weeks from Monday on
    same = (weeks[1:] == weeks[:-1]) & (months[1:] == months[:-1])
    same_day = same & (days[1:] == days[:-1])  # of bars within the day
    found = np.flatnonzero(same_day if same_day.any() else same)
    return start + int(found[-1]) if found.size else t


def _with_another_future(bars: pd.DataFrame, t: int) -> pd.DataFrame:
    """Change every bar after `t`: prices by one factor a bar, up and down, so that high stays above low."""
    rng = np.random.default_rng(0)
    future = bars.iloc[t + 1 :]
    factor = np.exp(0.5 * rng.standard_normal(len(future)))
    values = future.to_numpy(copy=True)
    for column, name in enumerate(bars.columns):
        own = name not in OHLCV or name == "volume"
        values[:, column] *= np.exp(rng.standard_normal(len(future))) if own else factor
    changed = bars.to_numpy(copy=True)
    changed[t + 1 :] = values
    return pd.DataFrame(changed, bars.index, bars.columns)


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
