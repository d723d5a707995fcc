"""Numbers as a reader sees them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tradingbot_exp.plots.numbers import MISSING, count, duration, moment, percent, ratio, significant

NAN, INF = float("nan"), float("inf")


def plain(text):
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.001, "0.001"),
        (0.000999996, "0.001"),
        (12345.678, "12,346"),
        (100.0, "100"),
        (-0.5, "−0.5"),
        (2.4681e-4, "2.468 × 10⁻⁴"),
        (999_999.7, "1.000 × 10⁶"),
        (-3.2e-310, "−3.200 × 10⁻³¹⁰"),
        (1e308, "1.000 × 10³⁰⁸"),
    ],
)
def test_significant_digits_are_those_that_count(value, text):
    assert plain(significant(value)) == text


def test_decimals_percent_and_sign():
    assert ratio(1.005, 1) == "1.0"
    assert ratio(0.5, signed=True) == "+0.50"
    assert ratio(-0.0004, signed=True) == "0.00"  # a zero has no sign
    assert plain(percent(-0.1234)) == "−12.3 %"
    assert plain(percent(0.5, 0)) == "50 %"
    assert len(ratio(1e300)) < 20


@pytest.mark.parametrize("form", [ratio, percent, significant, duration])
def test_what_is_no_number_has_a_word_of_its_own(form):
    assert [form(value) for value in (None, NAN, INF, -INF)] == [MISSING, MISSING, "∞", "−∞"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (86399, "1 d 00 h"),
        (1e6, "11 d 14 h"),
        (-3, "−3.0 s"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert plain(duration(seconds)) == text


def test_times_are_in_utc_and_counts_have_their_plural():
    assert moment(datetime(2026, 11, 24, 11, 43, 19, tzinfo=UTC)) == "2026-11-24 11:43:19 UTC"
    assert moment(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2025-12-31 23:00:00 UTC"
    assert moment(None) == MISSING
    assert [plain(count(n, "bar")) for n in (0, 1, 1234)] == ["0 bars", "1 bar", "1,234 bars"]
