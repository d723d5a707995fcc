"""Which signals stop a command, and when."""

from __future__ import annotations

import signal
import sys

import pytest


def test_once_the_command_is_over_a_signal_ends_the_process_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tradingbot_exp.train import main

    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in both]
    monkeypatch.setattr(sys, "argv", ["train", "--model.learning_rate", "0.005"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    try:
        with pytest.raises(SystemExit, match="1"):
            main()
        assert [signal.getsignal(number) for number in both] == [signal.SIG_DFL] * 2
    finally:
        for number, handler in zip(both, before, strict=True):
            signal.signal(number, handler)
