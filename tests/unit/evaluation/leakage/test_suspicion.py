"""Ranks are those of pandas, to the bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.evaluation.leakage.suspicion import _ranks

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [RNG.normal(size=1000), RNG.integers(0, 20, 1000) / 7, np.zeros(5), np.array([0.0, -0.0, 1.0]), np.array([3.0])],
    ids=["distinct", "many equal", "all equal", "zeros of either sign", "one"],
)
def test_ranks_are_those_of_pandas(values: np.ndarray) -> None:
    np.testing.assert_array_equal(_ranks(values), pd.Series(values).rank())
