"""Folds: no label of a train row overlaps a validation block, every promised row is used, the test part is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from tradingbot_exp.config.schema import DataConfig, EvaluationConfig
from tradingbot_exp.data import Block, PreparedData, prepare_data
from tradingbot_exp.data.folds import Fold, fold_views, make_folds
from tradingbot_exp.errors import ConfigError, DataError


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """A plain split, as `split_rows` makes it, and the keys of a scheme."""
    horizon = draw(st.integers(1, 6))
    start = draw(st.integers(0, 5))
    middle = start + horizon + draw(st.integers(2, 80))
    stop = middle + draw(st.integers(1, 60))
    return {
        "train": Block("train", start, middle - horizon),
        "val": Block("val", middle, stop),
        "horizon": horizon,
        "scheme": draw(st.sampled_from(["chronological", "walk_forward", "purged_kfold"])),
        "folds": draw(st.integers(2, 8)),
        "purge": draw(st.none() | st.integers(horizon, horizon + 6)),
        "embargo": draw(st.integers(0, 8)),
        "window": draw(st.sampled_from(["expanding", "rolling"])),
    }


def made(plan: dict[str, Any]) -> tuple[Fold, ...]:
    """The folds of a plan that can be made."""
    try:
        return make_folds(**plan)
    except ConfigError:
        assume(False)
        raise


@given(plans())
def test_no_label_of_a_train_row_overlaps_a_validation_block(plan: dict[str, Any]) -> None:
    horizon, purge = plan["horizon"], plan["purge"] or plan["horizon"]
    for fold in made(plan):
        block = fold.val
        for row in fold.train.numbers:
            assert row + purge < block.start or row >= block.stop + purge + plan["embargo"]
            # The bars that a label is made of: those after the row, up to `horizon` later.
            label = set(range(row + 1, row + horizon + 1))
            assert not label & set(range(block.start, block.stop + horizon))


@given(plans())
def test_blocks_follow_each_other_over_the_promised_rows_and_end_before_the_test_part(plan: dict[str, Any]) -> None:
    folds = made(plan)
    assert [fold.number for fold in folds] == list(range(1, len(folds) + 1))
    assert len(folds) == (1 if plan["scheme"] == "chronological" else plan["folds"])
    validated = np.concatenate([fold.val.numbers for fold in folds])
    first = plan["train" if plan["scheme"] == "purged_kfold" else "val"].start
    np.testing.assert_array_equal(validated, np.arange(first, plan["val"].stop))
    lengths = [len(fold.val) for fold in folds]
    assert max(lengths) - min(lengths) <= 1
    for fold in folds:
        assert fold.train.start >= plan["train"].start and fold.train.stop <= plan["val"].stop
        assert len(fold.train.numbers) == len(fold.train) >= 2


@given(plans())
def test_training_uses_every_row_that_the_scheme_allows(plan: dict[str, Any]) -> None:
    folds, purge = made(plan), plan["purge"] or plan["horizon"]
    first, end = plan["train"].start, plan["val"].stop
    length = len(folds[0].train)
    for fold in folds:
        block = fold.val
        allowed = [row for row in range(first, end) if row + purge < block.start]
        if plan["scheme"] == "walk_forward" and plan["window"] == "rolling":
            allowed = allowed[-length:]
        if plan["scheme"] == "purged_kfold":
            allowed += [row for row in range(first, end) if row >= block.stop + purge + plan["embargo"]]
        assert fold.train.numbers.tolist() == allowed


def test_a_walk_forward_is_that_of_scikit_learn() -> None:
    folds = make_folds(Block("train", 0, 67), Block("val", 70, 100), 3, "walk_forward", folds=5)
    oracle = TimeSeriesSplit(n_splits=5, test_size=6, gap=3).split(np.zeros(100))
    for fold, (train, val) in zip(folds, oracle, strict=True):
        np.testing.assert_array_equal(fold.train.numbers, train)
        np.testing.assert_array_equal(fold.val.numbers, val)


def test_the_plain_split_is_one_fold_that_a_longer_purge_shortens() -> None:
    train, val = Block("train", 4, 69), Block("val", 70, 84)
    assert make_folds(train, val, 1) == (Fold(1, train, val),)
    assert make_folds(train, val, 1, purge=5) == (Fold(1, Block("train", 4, 65), val),)


def test_around_a_block_in_the_middle_purge_comes_on_both_sides_and_the_embargo_after_it() -> None:
    folds = make_folds(Block("train", 0, 69), Block("val", 70, 90), 2, "purged_kfold", folds=3, embargo=4)
    assert [(fold.val.start, fold.val.stop) for fold in folds] == [(0, 30), (30, 60), (60, 90)]
    assert [fold.train for fold in folds] == [
        Block("train", 36, 90),
        Block("train", 0, 90, (28, 66)),
        Block("train", 0, 58),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"purge": 2}, ["evaluation.purge must be at least data.horizon=3", "got 2"]),
        ({"embargo": -1}, ["evaluation.embargo must be 0 or more bars; got -1"]),
        (
            {"scheme": "walk_forward", "folds": 31},
            ["evaluation.folds must be 2 to 30", "cuts 30 validation rows; got 31"],
        ),
        (
            {"scheme": "purged_kfold", "folds": 101},
            ["evaluation.folds must be 2 to 100", "100 train and validation rows; got 101"],
        ),
        ({"scheme": "walk_forward", "folds": 1}, ["evaluation.folds must be 2 to 30", "got 1"]),
        ({"purge": 69}, ["evaluation.purge=69", "leave 1 rows to train on in fold 1 of 1", "at least 2"]),
        ({"scheme": "walk_forward", "purge": 500}, ["evaluation.purge=500", "leave 0 rows", "fold 1 of 5"]),
        ({"scheme": "walk_forward", "purge": 500, "window": "rolling"}, ["leave 0 rows", "fold 1 of 5"]),
        ({"scheme": "purged_kfold", "purge": 90}, ["leave 0 rows", "fold 1 of 5, validated on the rows 0 to 19"]),
        ({"scheme": "purged_kfold", "folds": 2, "embargo": 60}, ["evaluation.embargo=60 leave 0 rows"]),
    ],
)
def test_folds_that_cannot_be_made_are_refused_by_their_key(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_folds(Block("train", 0, 67), Block("val", 70, 100), 3, **changes)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture(scope="module")
def data() -> PreparedData:
    return prepare_data(DataConfig(name="synthetic", source="synthetic", horizon=2, sequence_length=3))


def test_without_a_scheme_the_data_are_what_they_were(data: PreparedData) -> None:
    assert fold_views(data, EvaluationConfig()) == (data,)
    assert fold_views(data, EvaluationConfig(purge=2)) == (data,)
    (longer,) = fold_views(data, EvaluationConfig(purge=7))
    assert longer.train == replace(data.train, stop=data.train.stop - 5) and longer.val == data.val


@pytest.mark.parametrize("scheme", ["walk_forward", "purged_kfold"])
def test_each_fold_is_scaled_by_its_own_train_rows_and_sees_nothing_else(data: PreparedData, scheme: str) -> None:
    evaluation = EvaluationConfig(scheme=scheme, folds=3, embargo=5, window="rolling")
    views = fold_views(data, evaluation)
    assert fold_views(data, replace(evaluation)) == views  # made once
    assert len({view.scaler.mean_.tobytes() for view in views}) == 3
    for view in views:
        numbers = view.train.numbers
        seen = data.raw[np.concatenate([numbers[0] + np.array([-2, -1]), numbers])]  # the first window reaches back
        np.testing.assert_allclose(view.scaler.mean_, seen.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(view.scaler.scale_, seen.std(axis=0), rtol=1e-12)
        np.testing.assert_array_equal(view.scaled, view.scaler.transform(data.raw).astype(np.float32))
        windows = np.stack([view.scaled[row - 2 : row + 1] for row in numbers])
        np.testing.assert_array_equal(view.inputs(view.train), windows)
        np.testing.assert_array_equal(view.targets(view.train), data.target[numbers])
        returns = view.returns(view.train)
        assert returns is not None and len(returns) == len(view.dates(view.train)) == len(numbers)
    # Whatever happens outside of a fold's train rows leaves its scaler as it is.
    changed = data.raw.copy(order="K")  # sums depend on the order in memory
    changed[data.val.stop :] = np.nan
    poisoned = fold_views(replace(data, raw=changed), evaluation)
    assert [view.scaler.mean_.tolist() for view in poisoned] == [view.scaler.mean_.tolist() for view in views]


@pytest.mark.parametrize("length", [1, 4, 20])
def test_without_an_embargo_no_window_of_a_train_row_reaches_into_the_validated_block(length: int) -> None:
    windows = prepare_data(DataConfig(name="synthetic", source="synthetic", sequence_length=length))
    views = fold_views(windows, EvaluationConfig(scheme="purged_kfold", folds=3))
    for view in views:
        later = view.train.numbers[view.train.numbers >= view.val.stop]
        assert not later.size or later[0] - (length - 1) == view.val.stop + windows.horizon
        assert not set(view.train.numbers) & set(view.val.numbers)


def test_the_card_says_which_bars_each_fold_had(data: PreparedData) -> None:
    views = fold_views(data, EvaluationConfig(scheme="purged_kfold", folds=3, embargo=5))
    card = views[0].card["folds"]
    assert [each["fold"] for each in card] == [1, 2, 3] and "folds" not in data.card
    middle, view = card[1], views[1]
    assert middle["val"] == {
        "rows": len(view.val),
        "start": data.index[view.val.start].isoformat(),
        "end": data.index[view.val.stop - 1].isoformat(),
    }
    assert middle["train"]["rows"] == len(view.train)
    assert middle["train"]["left_out"] == [
        data.index[view.val.start - 2].isoformat(),
        data.index[view.val.stop + 6].isoformat(),
    ]
    assert "left_out" not in card[0]["train"]


def test_a_feature_that_is_constant_where_a_fold_trains_is_refused(data: PreparedData) -> None:
    raw = data.raw.copy()
    raw[data.val.start - 600 :, 3] = 7.0
    evaluation = EvaluationConfig(scheme="purged_kfold", folds=2)
    with pytest.raises(DataError, match=r"fold 1: .*feature vol_20 is constant: 7 in all \d+ train rows"):
        fold_views(replace(data, raw=raw), evaluation)
