"""The scaler is scikit-learn's to the bit, and its file is one that skops reads as scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.preprocessing import RobustScaler, StandardScaler

from tradingbot_exp.data.scaler import Scaler, save_scaler

DRAWN = np.random.default_rng(0).standard_normal((2264, 10))
ROWS = {
    "as features are": DRAWN,
    "far from 0": 1e6 + DRAWN,
    "tiny": 1e-9 * DRAWN[:77],
    "constant, but for rounding": np.full((50, 2), 0.1),
    "two": DRAWN[:2],
    "by column": np.asfortranarray(DRAWN),
    "with gaps in memory": DRAWN[::3, ::2],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("is_identity", [False, True])
def test_it_is_scikit_learns_to_the_bit_and_is_read_as_scikit_learns(
    rows: NDArray[np.float64], is_identity: bool, tmp_path: Path
) -> None:
    ours = Scaler.identity(rows) if is_identity else Scaler.fit(rows)
    theirs = StandardScaler(with_mean=not is_identity, with_std=not is_identity).fit(rows)
    if not is_identity:
        for name in ("mean_", "var_", "scale_", "n_samples_seen_"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.get_params() == theirs.get_params() and ours.n_features_in_ == theirs.n_features_in_
    save_scaler(ours, tmp_path / "scaler.skops")
    read = skops.io.load(tmp_path / "scaler.skops")  # trusts nothing but scikit-learn's own
    assert type(read) is StandardScaler and read.get_params() == theirs.get_params()
    for other in (theirs, read):
        assert np.array_equal(ours.transform(rows), other.transform(rows))


def test_any_other_scaler_is_saved_as_it_is(tmp_path: Path) -> None:
    robust = RobustScaler().fit(DRAWN)
    save_scaler(robust, tmp_path / "scaler.skops")
    assert np.array_equal(skops.io.load(tmp_path / "scaler.skops").transform(DRAWN), robust.transform(DRAWN))
