"""How often the verdict is wrong, over studies simulated from arrays to verdict; scripts/bench_verdict.py has more."""

import pytest
from bench_verdict import KINDS, judged
from support import in_ci

OURS = ("ours, forecasts", "ours, returns")
# Those that other rules are taken in by.
WORST = [
    "noise, Student's t3",
    "horizon 5, persistent",
    "persistent, Sharpe 3 since validation",
    "outcome that remembers, some trials persistent",
    "outcome with a slow part, persistent",
    "against the last 250 bars",
    "with the last 250 bars, Sharpe 3 since",
    "constant, Sharpe 3 since validation",
    "against the level of prices, 5 purged blocks",
    "a rare outcome, forecast not to come",
]


def called(kind: str, studies: int, rules: tuple[str, ...] = OURS) -> dict[str, float]:
    """Share of studies that each rule calls real."""
    found = [judged(KINDS[kind], number, draws=400, rules=rules) for number in range(studies)]
    return {rule: sum(rule in each for each in found) / studies for rule in rules}


@in_ci
@pytest.mark.parametrize("kind", WORST)
def test_where_there_is_nothing_hardly_anything_is_called_real(kind):
    studies = 120  # the same each time; of 2.5 %, 8 or more would be seen once in a hundred times
    found = called(kind, studies)
    assert all(share <= 7 / studies for share in found.values()), found
    assert "constant" not in kind or found == dict.fromkeys(OURS, 0)


@in_ci
@pytest.mark.parametrize(("kind", "least"), [("IC 0.15, 1,000 bars", 0.8), ("IC 0.1, 3,000 bars", 0.85)])
def test_skill_is_called_real(kind, least):
    assert called(kind, 40, OURS[:1])["ours, forecasts"] >= least


def test_a_few_studies_of_each_kind_are_called_what_they_are():
    assert called("noise, 5 trials", 6) == dict.fromkeys(OURS, 0)
    assert called("IC 0.3, 1,000 bars", 6) == dict.fromkeys(OURS, 1)
