"""What is shown on a terminal, in a log, and not at all."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pty
import re
import sys
import time
from types import SimpleNamespace

import pytest

from tradingbot_exp.errors import ConfigError
from tradingbot_exp.training import History, make_progress
from tradingbot_exp.training import progress as display
from tradingbot_exp.training.state import Epoch


def ended(number: int, epochs: int, train_loss: float = 1.0, val_loss: float = 2.0) -> Epoch:
    return Epoch(number, epochs, train_loss, val_loss, 0.1, None, 0.0, 0, 1, None)  # type: ignore[arg-type]


def run(mode: str, epochs: int, stream: io.TextIOBase, stop: int | None = None) -> None:
    with make_progress(mode, epochs, stream) as progress:  # type: ignore[arg-type]
        for epoch in range(1, (stop or epochs) + 1):
            progress.on_epoch(ended(epoch, epochs, 1 / epoch, 2 / epoch))


def shown(lines: str) -> list[int]:
    return [int(n) for n in re.findall(r"^epoch +(\d+)/", lines, flags=re.M)]


@pytest.mark.parametrize("epochs", [1, 2, 7, 10, 11, 50, 99, 1000])
def test_a_log_gets_at_most_ten_lines_with_the_first_and_the_last(epochs: int) -> None:
    stream = io.StringIO()
    run("auto", epochs, stream)
    numbers = shown(stream.getvalue())
    assert len(numbers) == len(stream.getvalue().splitlines()) <= 10
    assert numbers[0] == 1
    assert numbers[-1] == epochs
    assert numbers == sorted(set(numbers))


def test_a_line_tells_losses_and_time() -> None:
    stream = io.StringIO()
    run("plain", 50, stream)
    assert re.match(r"epoch  1/50  train 1  val 2  \d+\.\d s, \d+\.\d s left\n", stream.getvalue())


def test_a_run_that_stops_between_two_lines_still_shows_its_last_epoch() -> None:
    stream = io.StringIO()
    run("plain", 100, stream, stop=30)
    assert shown(stream.getvalue()) == [1, 13, 26, 30]


def test_a_training_that_is_gone_on_with_shows_its_first_epoch_and_the_time_of_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, bar, clock = io.StringIO(), io.StringIO(), iter(range(100, 200, 2))  # two seconds an epoch
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with make_progress("plain", 1000, stream) as lines, make_progress("bar", 1000, bar) as drawn:
        for epoch in range(991, 1001):
            time.sleep(0.02)
            lines.on_epoch(ended(epoch, 1000))
            drawn.on_epoch(ended(epoch, 1000))
    assert shown(stream.getvalue()) == [991, 1000]
    assert re.findall(r"\d+\.\d s.*", stream.getvalue()) == ["2.0 s, 18.0 s left", "20.0 s, 0.0 s left"]
    seconds = float(re.findall(r"([\d.]+)epoch/s", bar.getvalue().split("\r")[-1])[0])
    assert seconds < 100  # ten epochs a fifth of a second, not a thousand


def test_each_line_is_flushed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=4096) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        progress = make_progress("auto", 100)
        progress.on_epoch(ended(1, 100))
        os.set_blocking(reader, False)
        assert os.read(reader, 1000).startswith(b"epoch   1/100")
    os.close(reader)


def test_off_shows_nothing() -> None:
    stream = io.StringIO()
    run("off", 10, stream)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    main, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        run("auto", 4, stream)  # type: ignore[arg-type]
        os.set_blocking(main, False)  # all is written by now; a missing bar fails, and does not hang
        text, deadline = "", time.monotonic() + 10
        while "4/4" not in text and time.monotonic() < deadline:  # the terminal may hand it over in parts
            with contextlib.suppress(BlockingIOError):
                text += os.read(main, 100_000).decode()
    os.close(main)
    assert "\r" in text
    assert re.search(r"epoch: 100%.*4/4 \[\d\d:\d\d<00:00.*train 0\.25  val 0\.5", text)


def test_a_bar_that_stops_early_stays_where_it_was() -> None:
    stream = io.StringIO()
    run("bar", 4, stream, stop=3)
    assert "3/4" in stream.getvalue().split("\r")[-1]


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.progress must be .*; got 'plan'.*Did you mean 'plain'"):
        make_progress("plan", 10)


def test_a_history_survives_pickling_and_knows_its_best_epoch() -> None:
    history = History(5)
    assert history.best_epoch == 0
    assert history.best_val_loss != history.best_val_loss  # NaN
    for loss in (3.0, 1.0, 1.0, float("nan")):
        history.add({"train_loss": loss, "val_loss": loss, "learning_rate": 0.1})
    history.stopped_by = "hook"
    copy = pickle.loads(pickle.dumps(history))  # noqa: S301 - our own bytes
    assert (copy.best_epoch, copy.best_val_loss, copy.epochs_run, copy.stopped_early) == (2, 1.0, 4, True)
