"""Numbers as text: sensible digits, a true minus sign, and words for what is missing or infinite."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from tradingbot_exp.runtime.text import plural

MISSING = "–"
"""What stands for no value, or for one that is not a number."""
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
_HUGE = 1e9


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Write a share as a percentage, 0.123 as ``12.3 %``."""
    return _special(value) or f"{_fixed(100 * _there(value), digits, signed)}\u00a0%"


def ratio(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Write a number without unit, such as a Sharpe ratio, with that many decimals."""
    return _special(value) or _fixed(_there(value), digits, signed)


def significant(value: float | None, digits: int = 4, *, signed: bool = False) -> str:
    """Write a number with that many significant digits, as losses and learning rates need.

    Between 0.001 and 1,000,000 plainly (``0.0125``, ``12,345``), else as ``3.21 × 10⁻⁴``; zeros at the end of a
    fraction are kept only in the second form, where each digit is known to be one that counts.
    """
    special = _special(value)
    if special:
        return special
    number = _there(value)
    if number == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{number:.{digits - 1}e}"))))
    sign = "+" if signed else "-"
    if -3 <= exponent < 6:
        text = f"{number:{sign},.{max(digits - 1 - exponent, 0)}f}"
        return _minus(text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa = number / 10.0**exponent if exponent > -300 else number * 10.0**300 / 10.0 ** (exponent + 300)
    return _minus(f"{mantissa:{sign}.{digits - 1}f}\u00a0×\u00a010{superscript(exponent)}")


def duration(seconds: float | None) -> str:
    """Write a time span in its two largest units: ``3.2 s``, ``4 min 05 s``, ``2 h 07 min``, ``3 d 04 h``."""
    special = _special(seconds)
    if special:
        return special
    span = _there(seconds)
    if span < 0:
        return f"−{duration(-span)}"
    if span < 1:
        return f"{round(1000 * span):d}\u00a0ms" if round(1000 * span) < 1000 else "1.0\u00a0s"
    if round(span, 1) < 60:
        return f"{span:.1f}\u00a0s"
    for size, name, part, part_name in _UNITS:
        parts = round(span / part)
        if parts * part >= size:
            whole, rest = divmod(parts, size // part)
            return f"{whole:,d}\u00a0{name} {rest:02d}\u00a0{part_name}"
    return f"{span:.1f}\u00a0s"  # not reached: a span from 59.95 s on is a minute


def moment(when: datetime | None) -> str:
    """Write a point in time as ``2026-11-24 11:43:19 UTC``; one without a time zone is taken to be in UTC."""
    if when is None:
        return MISSING
    local = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return f"{local:%Y-%m-%d %H:%M:%S} UTC"


def count(number: int, noun: str, many: str = "") -> str:
    """Write a number of things, which stay in one line: ``1 bar``, ``1,234 bars``."""
    return plural(number, noun, many).replace(" ", "\u00a0", 1)


def _special(value: float | None) -> str:
    """Return what stands for a value that is no finite number; empty for one that is."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return ""


def _there(value: float | None) -> float:
    return 0.0 if value is None else float(value)


def _fixed(number: float, digits: int, signed: bool) -> str:
    if abs(number) >= _HUGE:
        return significant(number, signed=signed)
    text = f"{number:{'+' if signed else '-'},.{digits}f}"
    if not text.strip("+-0.,"):  # a zero has no sign
        text = text.lstrip("+-")
    return _minus(text)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def superscript(number: int) -> str:
    """Write a whole number as an exponent."""
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
