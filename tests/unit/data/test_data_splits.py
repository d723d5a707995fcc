"""Rows are cut in time order, with gaps, by fractions or by inclusive dates."""

from __future__ import annotations

import pandas as pd
import pytest

from tradingbot_exp.config.schema import SplitConfig
from tradingbot_exp.data.splits import Split, split_rows
from tradingbot_exp.errors import ConfigError, DataError

DAYS = pd.date_range("2013-01-01", periods=100, name="date")


def ranges(split: Split) -> list[tuple[int, int]]:
    return [(block.start, block.stop) for block in split]


def by_date(**ends: str) -> SplitConfig:
    return SplitConfig(**ends)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "rows"), [(3236, (2264, 484, 486)), (100, (69, 14, 15)), (20, (13, 2, 3))])
def test_default_fractions_cut_where_the_design_says(n: int, rows: tuple[int, int, int]) -> None:
    split = split_rows(pd.date_range("2000-01-01", periods=n), 1, SplitConfig())
    assert tuple(len(block) for block in split) == rows


def test_float_error_moves_no_cut() -> None:
    split = split_rows(DAYS, 1, SplitConfig(train=0.1, val=0.2, test=0.7))  # 0.1 + 0.2 > 0.3
    assert ranges(split) == [(0, 9), (10, 29), (30, 100)]
    split = split_rows(DAYS, 1, SplitConfig(train=0.57, val=0.1, test=0.33))  # 100 * 0.57 < 57
    assert ranges(split) == [(0, 56), (57, 66), (67, 100)]


def test_horizon_leaves_a_gap_and_sequences_shorten_train() -> None:
    split = split_rows(DAYS, 5, SplitConfig(), sequence_length=10)
    assert ranges(split) == [(9, 65), (70, 80), (85, 100)]


def test_fractions_that_sum_to_less_than_one_leave_the_rest_unused() -> None:
    assert ranges(split_rows(DAYS, 1, SplitConfig(train=0.5, val=0.2, test=0.2)))[2] == (70, 90)


def test_dates_are_inclusive_and_win_over_fractions() -> None:
    split = split_rows(DAYS, 1, by_date(train_end="2013-01-31", val_end="2013-02-28"))
    assert ranges(split) == [(0, 30), (31, 58), (59, 100)]
    ended = split_rows(DAYS, 1, by_date(train_end="2013-01-31", val_end="2013-02-28", test_end="2013-03-02"))
    assert ranges(ended)[2] == (59, 61)


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_a_bare_date_is_the_whole_day_in_the_datas_own_zone(zone: str | None) -> None:
    hours = pd.date_range("2013-03-08", periods=24 * 6, freq="h", tz=zone)  # New York's clocks change on the 10th
    split = split_rows(hours, 1, by_date(train_end="2013-03-10", val_end="2013-03-11 12:00"))
    assert hours[split.train.stop] == pd.Timestamp("2013-03-10 23:00", tz=zone)
    assert hours[split.val.start] == pd.Timestamp("2013-03-11 00:00", tz=zone)
    assert hours[split.test.start] == pd.Timestamp("2013-03-11 13:00", tz=zone)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (SplitConfig(train=0.0), ["data.split.train must be a fraction between 0 and 1", "got 0.0"]),
        (SplitConfig(val=1.0), ["data.split.val must be a fraction between 0 and 1", "got 1.0"]),
        (SplitConfig(test=None), ["data.split.test must be a fraction between 0 and 1", "got None"]),
        (SplitConfig(train=0.8), ["train + val + test must be at most 1; got 1.1"]),
        (by_date(train_end="2013-02-01"), ["data.split.val_end is not set"]),
        (by_date(test_end="2013-02-01"), ["data.split.train_end is not set"]),
        (
            by_date(train_end="soon", val_end="2013-02-01"),
            ["data.split.train_end must be a date such as 2010-12-31; got 'soon'"],
        ),
        (
            by_date(train_end="2013-02-31", val_end="2013-03-01"),
            ["data.split.train_end must be a date", "got '2013-02-31'"],
        ),
        (
            by_date(train_end="2013-03-01", val_end="2013-02-01"),
            ["data.split.val_end must be after data.split.train_end; got '2013-02-01'"],
        ),
        (by_date(train_end="2012-02-01", val_end="2013-02-01"), ["train_end=2012-02-01 is outside the data"]),
        (
            by_date(train_end="2013-02-01", val_end="2013-03-01", test_end="2014-01-01"),
            ["test_end=2014-01-01 is outside the data", "Leave it out"],
        ),
        (
            by_date(train_end="2013-02-01 09:00+01:00", val_end="2013-03-01"),
            ["train_end=2013-02-01 09:00+01:00 has a time zone"],
        ),
    ],
)
def test_impossible_splits_are_refused_by_their_key(split: SplitConfig, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        split_rows(DAYS, 1, split)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("horizon", "length", "name"), [(15, 1, "val"), (70, 1, "train"), (1, 69, "train")])
def test_too_few_rows_for_a_block_are_refused(horizon: int, length: int, name: str) -> None:
    with pytest.raises(DataError, match=rf"too few rows: of 100 usable ones, data\.split leaves \d for {name}"):
        split_rows(DAYS, horizon, SplitConfig(), length)
