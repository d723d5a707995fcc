"""What one cell says of a date, a time of day, or a zone, in a given order of day, month and year."""

from __future__ import annotations

import calendar
import datetime as dt
import re
import zoneinfo

ORDERS = {"year first": "ymd", "month first": "mdy", "day first": "dmy"}

_NAMED = r"[A-Za-z]{3,9}\.?"
DATE = (
    r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}|\d{8}|\d{6}"
    rf"|(?:{_NAMED},? )?\d{{1,4}}[-/ .]?{_NAMED}[-/ .,]{{0,2}}\d{{1,4}}"
    rf"|(?:{_NAMED},? )?{_NAMED}[-/ ]\d{{1,2}}(?:, ?|[-/ ])\d{{4}}"
)
CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?: ?[AaPp][Mm]\b)?|\d{1,2}[- ]?[AaPp][Mm]\b|\d{9}|\d{6}|\d{4}"
ZONE = r"(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?|[A-Za-z]+(?:[/_][A-Za-z0-9_+-]+)+|[A-Za-z]{1,5}"

_MONTHS = [name.lower() for name in calendar.month_name]  # the first is empty
_FIRST, _LAST = dt.date(1678, 1, 1), dt.date(2261, 12, 31)  # what nanoseconds reach
_EPOCH = dt.date(1970, 1, 1).toordinal()
_DAY, _SECOND = 86_400 * 10**9, 10**9


def date(text: str, order: str, today: dt.date) -> int | None:
    """Return the nanoseconds from 1970 to a date; None if it is none in that order.

    A year of two digits is of the last hundred years up to today: never in the future. A year that stands first with
    four digits, and a month with its name, are of one order only.
    """
    parts = re.findall(r"\d+|[A-Za-z]+", text)
    numbers = [part for part in parts if part.isdecimal()]
    months = [number for part in parts if part.isalpha() and (number := _month(part))]
    if len(parts) == 1 and len(text) in (6, 8):
        year = len(text) - 4
        sizes = [year if letter == "y" else 2 for letter in order]
        starts = [sum(sizes[:place]) for place in range(3)]
        numbers = [text[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    elif len(months) == 1 and len(numbers) == 2:
        order = "ymd" if len(numbers[0]) == 4 else "dmy"
        numbers.insert(1, str(months[0]))
    elif len(numbers) != 3 or len(parts) != 3:
        return None
    if len(numbers[0]) == 4:
        order = "ymd"
    given = dict(zip(order, numbers, strict=True))
    if len(given["y"]) not in (2, 4) or max(len(given["m"]), len(given["d"])) > 2:
        return None
    try:
        found = dt.date(int(given["y"]) + (2000 if len(given["y"]) == 2 else 0), int(given["m"]), int(given["d"]))
        if len(given["y"]) == 2 and found > today:
            found = found.replace(year=found.year - 100)
    except ValueError:
        return None
    return (found.toordinal() - _EPOCH) * _DAY if _FIRST <= found <= _LAST else None


def _month(word: str) -> int | None:
    lower = word.lower()
    return next((number for number, name in enumerate(_MONTHS) if name.startswith(lower)), None)


def has_short_year(text: str) -> bool:
    """Tell whether the year of a date has two digits."""
    numbers = re.findall(r"\d+", text)
    return all(len(number) < 4 for number in numbers) or (len(text) == 6 and text.isdecimal())


def clock(text: str) -> int | None:
    """Return the nanoseconds from midnight to a time of day, 0 for an empty text; None if it is none."""
    if not text:
        return 0
    if text.isdecimal():
        text = f"{text[:2]}:{text[2:4]}:{text[4:6] or '00'}.{text[6:] or '0'}"
    found = re.fullmatch(r"(\d{1,2})(?::(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?[- ]?(?:([AaPp])[Mm])?", text)
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    if found[5]:
        if hours > 12:
            return None
        hours = hours % 12 + (12 if found[5] in "Pp" else 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return (hours * 3600 + minutes * 60 + seconds) * _SECOND + int((found[4] or "0").ljust(9, "0"))


def zone(text: str) -> dt.tzinfo | None:
    """Return a zone by its offset or its name in the tz database; None for what may mean several, as EST and CST do."""
    if text in ("Z", "z", "UTC", "GMT", "utc", "gmt"):
        return dt.UTC
    found = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d{2})?", text)
    if found is not None:
        minutes = int(found[2]) * 60 + int(found[3] or 0)
        if minutes >= 24 * 60:
            return None
        return dt.timezone(dt.timedelta(minutes=minutes if found[1] == "+" else -minutes)) if minutes else dt.UTC
    try:
        return zoneinfo.ZoneInfo(text) if "/" in text else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return None
