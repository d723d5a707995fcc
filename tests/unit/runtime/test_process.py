"""A process is known by what no step of the clock changes, and one that was heard of lately lives."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tradingbot_exp.runtime import process
from tradingbot_exp.runtime.process import identity, is_alive

NOW, LONG_AGO = "{now:.0f}", "{then:.0f}"


@pytest.fixture(scope="module")
def sleeper() -> Iterator[int]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started.pid
    started.kill()
    started.wait()


def owner(pid: int, /, **changes: str | None) -> dict[str, str]:
    """A process as a run names it, with some of it altered, or left out where None."""
    found = {**identity(pid), **{f"process.{name}": text for name, text in changes.items()}}
    return {name: text for name, text in found.items() if text is not None}


@pytest.mark.parametrize("seconds", [3, -3, 3600, -86400])
def test_a_step_of_the_clock_makes_no_living_process_look_dead(
    sleeper: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity(sleeper)
    boot_time = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot_time() + seconds)
    assert abs(float(identity(sleeper)["process.started"]) - float(before["process.started"])) > 2
    assert is_alive(before)


@pytest.mark.parametrize(
    ("changes", "lives"),
    [
        ({}, True),
        ({"started": "12345.00"}, True),  # the boot says who it is
        ({"heartbeat": LONG_AGO}, True),
        ({"boot": "{boot}/1"}, False),
        ({"boot": "{boot}/1", "heartbeat": NOW}, False),  # another process with its number
        ({"boot": "another/{ticks}"}, False),  # the machine was started again
        ({"boot": "another/{ticks}", "heartbeat": LONG_AGO}, False),
        ({"boot": "another/{ticks}", "heartbeat": NOW}, True),  # or is another of that name
        ({"boot": None}, True),  # as earlier versions named it
        ({"boot": None, "started": "12345.00"}, False),
        ({"boot": None, "started": "12345.00", "heartbeat": LONG_AGO}, False),
        ({"boot": None, "started": "12345.00", "heartbeat": NOW}, True),
        ({"pid": "999999999", "heartbeat": NOW}, False),
        ({"pid": "9" * 40}, False),
        ({"pid": "-1"}, False),
        ({"pid": "many"}, False),
        ({"heartbeat": "soon"}, False),
        ({"host": "elsewhere"}, False),
        ({"host": "elsewhere", "heartbeat": NOW}, True),
        ({"host": "elsewhere", "heartbeat": LONG_AGO}, False),
    ],
)
def test_who_lives(sleeper: int, changes: dict[str, str | None], lives: bool) -> None:
    boot, _, ticks = identity(sleeper)["process.boot"].partition("/")
    facts = {"boot": boot, "ticks": ticks, "now": time.time(), "then": time.time() - 3600}
    told = {name: text if text is None else text.format(**facts) for name, text in changes.items()}
    assert is_alive(owner(sleeper, **told)) is lives


def test_a_process_that_has_ended_and_was_not_waited_for_is_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = identity(ended.pid)
    assert is_alive(known)
    ended.kill()
    deadline = time.monotonic() + 20
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(known)
    ended.communicate()
    assert not is_alive(known)


@pytest.mark.parametrize("step", [3600, -3600, 86400])
def test_a_step_of_the_clock_makes_no_other_host_look_dead_that_is_seen_to_beat(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, monotonic = 1_000_000.0, 5_000.0
    monkeypatch.setattr(process.time, "time", lambda: wall)
    monkeypatch.setattr(process.time, "monotonic", lambda: monotonic)
    away = {"process.host": "elsewhere", "process.pid": str(step), "process.started": "1.00"}
    assert is_alive({**away, "process.heartbeat": f"{wall:.0f}"})
    wall += step
    monotonic += 20
    assert is_alive({**away, "process.heartbeat": "1000000"})  # it may be about to give the next
    monotonic += 20
    assert is_alive({**away, "process.heartbeat": "1000030"})
    monotonic += 119
    assert is_alive({**away, "process.heartbeat": "1000030"})
    monotonic += 2
    assert not is_alive({**away, "process.heartbeat": "1000030"})
