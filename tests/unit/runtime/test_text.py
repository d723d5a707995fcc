"""Words for counts, lists, times and commands, which every message, page and terminal takes from one place."""

import shlex
from datetime import datetime

import pytest

from tradingbot_exp.runtime.text import at_most, day, listed, plural, times, train_command


@pytest.mark.parametrize(
    ("number", "noun", "many", "text"),
    [
        (1, "run", "", "1 run"),
        (0, "run", "", "0 runs"),
        (1234, "run", "", "1,234 runs"),
        (2, "query", "", "2 queries"),
        (2, "key", "", "2 keys"),
        (2, "search", "searches", "2 searches"),
        (1, "search", "searches", "1 search"),
        (2, "job of a sweep", "jobs of a sweep", "2 jobs of a sweep"),
    ],
)
def test_a_number_of_things_has_its_plural(number, noun, many, text):
    assert plural(number, noun, many) == text


def test_lists_read_as_sentences_and_long_ones_are_cut():
    assert [listed(words) for words in ([], ["A"], ["A", "B"], ["A", "B", "C"])] == ["", "A", "A and B", "A, B and C"]
    assert [at_most("ABCD"[:n], 2) for n in (1, 2, 4)] == ["A", "A, B", "A, B and 2 more"]
    assert at_most("ABC", 1, "; ", "others") == "A; and 2 others"
    assert [times(number) for number in (1, 2, 1000)] == ["once", "2 times", "1,000 times"]


def test_midnight_is_not_written():
    assert [day(when) for when in ("2020-01-31T00:00:00", datetime(2020, 1, 31), "2020-01-31T09:30:00")] == [
        "2020-01-31",
        "2020-01-31",
        "2020-01-31 09:30:00",
    ]
    assert [day(when) for when in ("2020-01-31 00:00:00+00:00", "2020-01-31T09:30:00-05:00")] == [
        "2020-01-31",
        "2020-01-31 09:30:00-05:00",
    ]


def test_a_command_survives_a_shell():
    words = ["a=1", "b=it's [1, 2]", 3]
    assert shlex.split(train_command(words)) == ["python", "-m", "tradingbot_exp.train", *map(str, words)]
