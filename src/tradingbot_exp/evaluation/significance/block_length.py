"""How long the blocks of a bootstrap should be, from the autocovariances of the series that it resamples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Floats, is_constant

_CHUNK_VALUES = 2**21  # of the spectra in memory at once
_FEWEST = 10


def block_lengths(values: ArrayLike) -> Floats:
    """Choose the mean block length that suits the mean of each series best.

    Parameters
    ----------
    values : array_like, shape (n, K)
        Finite.

    Returns
    -------
    ndarray, shape (K,)
        In bars, between 1 and ``ceil(min(3·√n, n/3))``; 1 for a constant series, and for fewer than 10 bars.

    References
    ----------
    Politis & White (2004), "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23(1),
    section 3.2, with Patton, Politis & White (2009), "Correction to …", Econometric Reviews 28(4), equation 3 (the
    factor 2 of the stationary bootstrap). The bandwidth is twice the first lag from which on ``max(5, √log10 n)``
    autocorrelations in a row are insignificant, as in the authors' own program.
    """
    x = np.asarray(values, dtype=np.float64)
    n, columns = x.shape
    if n < _FEWEST:
        return np.ones(columns)
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    longest = math.ceil(min(3 * math.sqrt(n), n / 3))
    covariance = autocovariances(x, most)
    with np.errstate(invalid="ignore", divide="ignore"):
        small = np.abs(covariance / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    lengths = np.ones(columns)
    for column in range(columns):
        gamma = covariance[:, column]
        if gamma[0] <= 0 or is_constant(x[:, column]):
            continue
        bandwidth = next((2 * lag for lag in range(1, most - run + 1) if small[lag : lag + run, column].all()), most)
        lags = np.arange(1, min(bandwidth, most) + 1)
        weight = np.minimum(1.0, 2.0 * (1.0 - lags / lags[-1]))
        slope = float(np.sum(2.0 * weight * lags * gamma[lags]))
        spectrum = gamma[0] + float(np.sum(2.0 * weight * gamma[lags]))
        best = (slope**2 / spectrum**2 * n) ** (1 / 3) if spectrum else math.inf
        lengths[column] = min(max(best, 1.0), longest)
    return lengths


def block_length(series: Floats) -> float:
    """Choose the mean block length for one series of shape (n,); 1 for fewer than 10 bars: see `block_lengths`."""
    return float(block_lengths(np.asarray(series, dtype=np.float64)[:, None])[0])


def autocovariances(values: Floats, lags: int) -> Floats:
    """Return the autocovariances at the lags 0 … `lags`, sums divided by n; shape (lags + 1, K) for values (n, K)."""
    n, columns = values.shape
    padded = 1 << (n + lags).bit_length()
    at_once = max(1, _CHUNK_VALUES // padded)
    found = np.empty((lags + 1, columns))
    for start in range(0, columns, at_once):
        part = values[:, start : start + at_once]
        spectrum = np.fft.rfft(part - part.mean(axis=0), padded, axis=0)
        power = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, padded, axis=0)
        found[:, start : start + at_once] = power[: lags + 1] / n
    return found
