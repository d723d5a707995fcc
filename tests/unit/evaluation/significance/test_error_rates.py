"""How often the verdict is wrong, over studies simulated from arrays to verdict; scripts/bench_verdict.py has more."""

import runpy

import pytest
from support import REPOSITORY, in_ci

BENCH = runpy.run_path(str(REPOSITORY / "scripts" / "bench_verdict.py"))
REPETITIONS, DRAWS = 400, 400
KINDS = ["noise_returns", "pruned_returns", "ibm_returns", "falling_returns", "noise_loss", "overlapping_loss"]


@in_ci
@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_called_real_in_fewer_than_five_percent(kind):
    count, _, _ = BENCH["share_real"](BENCH[kind], REPETITIONS, draws=DRAWS)
    assert count < 0.05 * REPETITIONS


@in_ci
@pytest.mark.parametrize("kind", ["planted_returns", "timed_returns", "planted_loss"])
def test_a_planted_signal_is_called_real_in_more_than_eighty_percent(kind):
    count, _, _ = BENCH["share_real"](BENCH[kind], 200, draws=DRAWS)
    assert count > 0.8 * 200


def test_a_few_studies_of_each_kind_are_called_what_they_are():
    found = {kind: BENCH["share_real"](BENCH[kind], 6, draws=200)[0] for kind in ("noise_returns", "planted_returns")}
    assert found["noise_returns"] == 0 and found["planted_returns"] >= 5
