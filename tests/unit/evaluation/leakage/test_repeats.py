"""Equal rows have one number, and others another, though what they are mixed into were the same."""

from __future__ import annotations

import numpy as np
import pytest

from tradingbot_exp.evaluation.leakage.repeats import _mixed, _numbered, all_differ


def test_rows_that_are_mixed_into_the_same_number_are_told_apart() -> None:
    first = np.random.default_rng(0).normal(size=(200, 1))
    mixed = _mixed(first.T)
    second = (mixed ^ mixed[0] ^ np.array([1.5]).view(np.uint64)).view(np.float64)  # what makes all mixed alike
    rows = np.column_stack([first, second])[np.isfinite(second)]
    assert len(rows) > 100 and len(set(_mixed(rows.T).tolist())) == 1
    number, counts = _numbered(np.concatenate([rows, rows[:1]]))
    assert len(counts) == len(set(number.tolist())) == len(rows)
    assert number[0] == number[-1] and counts[number[0]] == 2


def test_zeros_of_either_sign_are_equal() -> None:
    number, counts = _numbered(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]]))
    assert number[0] == number[1] != number[2] and sorted(counts) == [1, 2]


@pytest.mark.parametrize("rows", [1, 2, 3, 100, 5000])
def test_one_row_that_is_another_once_more_is_told_from_rows_that_all_differ(rows: int) -> None:
    values = np.random.default_rng(0).normal(size=(rows, 2))
    assert all_differ(values.T)
    for twice in {0, rows // 2, rows - 1}:
        assert not all_differ(np.insert(values, rows // 3, values[twice], axis=0).T)
