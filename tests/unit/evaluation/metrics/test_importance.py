"""Permutation importance against the value that theory gives, on inputs that must not be touched."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.inspection import permutation_importance as sklearn_importance
from sklearn.linear_model import LinearRegression

from tradingbot_exp.evaluation.metrics import importance
from tradingbot_exp.evaluation.metrics.forecast import mae
from tradingbot_exp.evaluation.metrics.importance import permutation_importance

WEIGHTS = np.array([2.0, 0.0, -1.0])
NAMES = ["strong", "unused", "weak"]


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(400, 3))


def test_linear_model_loses_twice_the_variance_that_a_feature_brought(rows):
    # E(f(x) − f(x with x_j shuffled))² = w_j² · E(x_j − x_j')² = 2 w_j² var(x_j) over all shuffles.
    found = permutation_importance(lambda x: x @ WEIGHTS, rows, rows @ WEIGHTS, NAMES, n_repeats=200)
    assert found.names == tuple(NAMES)
    assert found.baseline == 0
    assert found.mean == pytest.approx(2 * WEIGHTS**2 * rows.var(axis=0), rel=0.02)
    assert found.mean[1] == found.std[1] == 0


def test_agrees_with_scikit_learn_within_the_error_of_shuffling(rows):
    y = rows @ WEIGHTS + np.random.default_rng(1).normal(size=400)
    model = LinearRegression().fit(rows, y)
    ours = permutation_importance(model.predict, rows, y, NAMES, n_repeats=100)
    theirs = sklearn_importance(model, rows, y, scoring="neg_mean_squared_error", n_repeats=100, random_state=0)
    error = 5 * np.hypot(ours.std, theirs.importances_std) / 10
    assert np.all(np.abs(ours.mean - theirs.importances_mean) < error)
    assert ours.std == pytest.approx(theirs.importances_std, rel=0.4)


def test_windows_are_shuffled_whole_and_a_read_only_view_is_left_alone(rows):
    windows = np.swapaxes(sliding_window_view(rows, 4, axis=0), 1, 2)  # (397, 4, 3), strided and read-only
    before = windows.copy()
    paths = {path.tobytes() for path in before[..., 0]}
    seen = []

    def predict(x):
        seen.append(all(path.tobytes() in paths for path in x[..., 0]))
        return (x[:, -1] @ WEIGHTS)[:, None]

    found = permutation_importance(predict, windows, windows[:, -1] @ WEIGHTS, NAMES)
    assert found.mean[0] > found.mean[2] > found.mean[1] == 0
    assert len(seen) == 4  # the baseline, then one batch a feature
    assert all(seen)
    assert np.array_equal(windows, before)


def test_same_seed_same_numbers_however_they_are_batched(rows, monkeypatch):
    def measure(seed):
        return permutation_importance(lambda x: np.tanh(x @ WEIGHTS), rows, rows[:, 0], NAMES, seed=seed, loss=mae)

    whole = measure(1)
    monkeypatch.setattr(importance, "MAX_BATCH_VALUES", 2 * rows.size)
    parts = measure(1)
    assert parts.mean.tolist() == whole.mean.tolist()
    assert parts.std.tolist() == whole.std.tolist()
    assert measure(2).mean.tolist() != whole.mean.tolist()


def test_mean_and_spread_are_taken_over_the_increases(rows):
    losses = iter([1.0, 2.0, 4.0])  # the baseline, then two shuffles: increases of 1 and 3
    found = permutation_importance(
        lambda x: x[:, 0], rows[:, :1], rows[:, 0], ["a"], n_repeats=2, loss=lambda y, forecast: next(losses)
    )
    assert (found.baseline, found.mean[0], found.std[0]) == (1.0, 2.0, pytest.approx(2**0.5))


def test_one_repeat_has_no_spread_and_keeps_the_dtype(rows):
    dtypes = set()

    def predict(x):
        dtypes.add(x.dtype)
        return x @ WEIGHTS

    found = permutation_importance(predict, rows.astype(np.float32), rows[:, 0], NAMES, n_repeats=1)
    assert np.all(np.isnan(found.std))
    assert np.all(np.isfinite(found.mean))
    assert dtypes == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_names": ["a"]}, r"X has the shape \(400, 3\); expected \(400, 1\)"),
        ({"y": np.zeros(5)}, r"X has the shape \(400, 3\); expected \(5, 3\)"),
        ({"y": np.full(400, np.nan)}, "y holds 400"),
        ({"n_repeats": 0}, "n_repeats is 0"),
        ({"X": np.zeros((0, 3)), "y": []}, "X has no rows"),
        ({"predict": lambda x: x}, r"predict gave the shape \(400, 3\) for 400 rows"),
    ],
)
def test_impossible_input_is_refused(rows, changes, message):
    arguments = {"predict": lambda x: x[:, 0], "X": rows, "y": rows[:, 0], "feature_names": NAMES} | changes
    with pytest.raises(ValueError, match=message):
        permutation_importance(**arguments)
