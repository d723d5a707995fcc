"""Which signals stop a command, and when."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tradingbot_exp.runtime import interrupt

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    before = [signal.getsignal(number) for number in BOTH]
    yield
    interrupt.install()  # forgets what came
    for number, handler in zip(BOTH, before, strict=True):
        signal.signal(number, handler)


def test_once_the_command_is_over_a_signal_ends_the_process_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tradingbot_exp.train import main

    monkeypatch.setattr(sys, "argv", ["train", "--model.learning_rate", "0.005"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit, match="1"):
        main()
    assert [signal.getsignal(number) for number in BOTH] == [signal.SIG_DFL] * 2


def interrupted(steps: Callable[[], None]) -> None:
    interrupt.install()
    with pytest.raises(KeyboardInterrupt):
        steps()
    assert interrupt.received() == signal.SIGINT


def test_two_signals_in_quick_succession_are_one_wish_however_long_runs_take_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupt, "_APART", 0.05)

    def steps() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            with interrupt.signals_held():
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.06)

    interrupted(steps)
    assert not interrupt.is_urgent()


@pytest.mark.parametrize("first_held", [True, False])
def test_a_signal_a_while_later_is_urgent(monkeypatch: pytest.MonkeyPatch, first_held: bool) -> None:
    monkeypatch.setattr(interrupt, "_APART", 0.05)
    urgent = []

    def steps() -> None:
        try:
            if not first_held:
                signal.raise_signal(signal.SIGINT)
        finally:
            with interrupt.signals_held():
                if first_held:
                    signal.raise_signal(signal.SIGINT)
                time.sleep(0.06)
                signal.raise_signal(signal.SIGTERM)
                urgent.append(interrupt.is_urgent())

    interrupted(steps)
    assert urgent == [True]
