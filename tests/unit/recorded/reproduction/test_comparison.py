"""Every metric at every step counts, the first difference is the earliest, and the bound is stated by engine."""

from __future__ import annotations

import math

import pytest

from tradingbot_exp.recorded.reproduction.comparison import Cause, Comparison, bound_of, compare_points

THEN = {("train_loss", 1): 1.0, ("val_loss", 1): 2.0, ("val_loss", 2): 1.5, ("final_loss", 0): 1.5, ("val_ic", 0): 0.1}


def test_the_same_points_are_identical_also_where_they_are_no_numbers() -> None:
    found = compare_points(
        THEN | {("x", 1): math.nan, ("y", 1): math.inf}, THEN | {("x", 1): math.nan, ("y", 1): math.inf}, 0
    )
    assert (found.result, found.points, found.metrics, found.first) == ("identical", 7, 6, None)


def test_the_first_difference_is_the_earliest_epochs_and_the_last_bit_counts() -> None:
    now = THEN | {("val_loss", 2): math.nextafter(1.5, 2), ("final_loss", 0): 9.0, ("val_ic", 0): 0.2}
    found = compare_points(THEN, now, 0)
    assert found.result == "different" and found.differing == 3 and not found.is_reproduced
    assert found.first is not None and (found.first.metric, found.first.step) == ("val_loss", 2)


@pytest.mark.parametrize("change", [{("new", 1): 1.0}, {("val_loss", 3): 1.0}])
def test_a_point_that_only_one_of_them_has_is_a_difference(change: dict[tuple[str, int], float]) -> None:
    assert compare_points(THEN, THEN | change, 0).result == "different"
    assert compare_points(THEN | change, THEN, 0).result == "different"
    # Of a run that ended early, the new one goes on.
    assert compare_points(THEN, THEN | change, 0, is_whole=False).result == "identical"
    assert compare_points(THEN | change, THEN, 0, is_whole=False).result == "different"


def test_a_model_of_a_stack_is_equal_within_its_bound_in_its_losses() -> None:
    assert bound_of("single", "float32") == 0.0 == bound_of("", "float64")
    assert (bound_of("stacked", "float32"), bound_of("stacked", "float64")) == (5e-3, 1e-9)
    near = {key: value * (1 + 1e-3) for key, value in THEN.items()} | {("val_ic", 0): -5.0}
    found = compare_points(THEN, near, 5e-3)
    assert (found.result, found.is_reproduced, found.metrics) == ("equal within 0.005", True, 3)
    assert found.worst == pytest.approx(1e-3)
    assert compare_points(THEN, near, 1e-9).result == "different"
    same = compare_points(THEN, THEN, 5e-3)
    assert (same.result, same.metrics) == ("identical", 4)
    assert compare_points(THEN, THEN | {("val_loss", 1): math.nan}, 5e-3).result == "different"


def test_the_summary_names_the_first_difference_and_the_likely_cause() -> None:
    different = compare_points(THEN, THEN | {("val_loss", 1): 3.0}, 0)
    assert different.summary == "different: val_loss at step 1; no cause on record"
    cause = (Cause("packages", "torch was 2, is 3"),)
    assert Comparison("identical", 1, 1, causes=cause).summary == "identical; not the same: packages: torch was 2, is 3"
    assert Comparison("identical", 1, 1).summary == "identical"
