"""The number of threads: what the work is worth, and the same bits whatever it is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tradingbot_exp.training import History, make_optimizer, train_model
from tradingbot_exp.training import threads as threads_module
from tradingbot_exp.training.listeners import Hook
from tradingbot_exp.training.predict import predict
from tradingbot_exp.training.stacked import train_stack
from tradingbot_exp.training.state import Member
from tradingbot_exp.training.threads import PASS_WORTH, WORTH, Threads


@pytest.fixture(autouse=True)
def four() -> Iterator[None]:
    """Four threads, as many as a machine may have; afterwards what there was."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4  # nothing that ends leaves another number behind
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("models", "work", "expected"),
    [
        (1, 100_000, (1, 1)),
        (2 * WORTH // 100_000 - 1, 100_000, (1, 1)),
        (2 * WORTH // 100_000, 100_000, (2, 1)),
        (1000, 100_000, (4, 1)),
        (1, WORTH, (1, 4)),
        (2, WORTH, (2, 2)),
        (3, WORTH, (3, 1)),
        (5, WORTH, (4, 1)),
    ],
)
def test_small_models_share_a_thread_and_large_ones_share_all(
    models: int, work: int, expected: tuple[int, int]
) -> None:
    assert Threads.of(models, work // 32, 32) == expected
    torch.set_num_threads(1)
    assert Threads.of(models, work // 32, 32) == (1, 1)
    torch.set_num_threads(4)


def trained(threads: int, models: int) -> torch.Tensor:
    """Give all parameters after three epochs with dropout and clipping."""
    torch.set_num_threads(threads)
    draw = torch.Generator().manual_seed(0)
    X, y = torch.randn(200, 10, generator=draw), torch.randn(200, 1, generator=draw)
    members = []
    for seed in range(models):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU())
        model.append(nn.Linear(32, 1))
        optimizer = make_optimizer("Adam", model.parameters(), 1e-3 * (seed + 1))
        members.append(Member(model, optimizer, 3, seed=seed, gradient_clip=0.5))
    train_stack(members, X, y, X[:50], y[:50], batch_size=32)
    torch.set_num_threads(4)
    return torch.cat([p.detach().flatten() for member in members for p in member.model.parameters()])


def test_a_stack_has_the_same_bits_on_any_number_of_threads() -> None:
    part = WORTH // (2817 * 32) + 1
    assert Threads.of(2 * part, 2817, 32).parts == 2
    whole = trained(1, 4 * part)
    assert torch.equal(whole, trained(2, 4 * part))
    assert torch.equal(whole, trained(4, 4 * part))


def test_a_hook_finds_the_number_of_threads_as_it_was() -> None:
    found = []
    model = nn.Linear(3, 1)
    X, y = torch.randn(20, 3), torch.randn(20, 1)
    train_model(
        model,
        *(X, y, X, y),
        make_optimizer("Adam", model.parameters(), 1e-3),
        None,
        2,
        on_epoch=lambda _epoch, _record: found.append(torch.get_num_threads()),
    )
    assert found == [4, 4]


@pytest.mark.parametrize(("rows", "expected"), [(3000, 1), (PASS_WORTH // 20_000, 4)])
def test_only_large_forecasts_are_shared_by_threads(rows: int, expected: int) -> None:
    class Watched(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found.append(torch.get_num_threads())
            return super().forward(x)

    found: list[int] = []
    predict(Watched(200, 100, bias=False), torch.zeros(rows, 200), batch_size=rows)
    assert found == [expected]


def test_a_batch_counts_no_more_rows_than_there_are() -> None:
    found = []
    model = nn.Linear(3, 1)
    model.register_forward_hook(lambda module, *_: found.append(torch.get_num_threads()) if module.training else None)
    X, optimizer = torch.randn(20, 3), make_optimizer("Adam", model.parameters(), 1e-3)
    for rows in (20, WORTH):
        train_model(model, *(X, X[:, :1]) * 2, optimizer, None, 1, batch_size=rows)
    assert found == [1, 1]


def small(seed: int, epochs: int, **options: Any) -> Member:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
    if "on_epoch" in options:
        options["listeners"] = [Hook(options.pop("on_epoch"))]
    return Member(model, make_optimizer("Adam", model.parameters(), 0.01), epochs, seed, **options)


def test_members_of_several_parts_leave_as_they_would_leave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[tuple[int, ...]]] = {}
    callers = set()

    def stop(epoch: int, _record: dict[str, float]) -> bool:
        callers.add(threading.current_thread())
        return epoch == 3

    def fail(epoch: int, _record: dict[str, float]) -> None:
        raise OSError(f"the disk is full in epoch {epoch}")

    def ended(threads: int) -> list[Any]:
        torch.set_num_threads(threads)
        members = [
            *(small(0, 6), small(1, 2), small(2, 6, on_epoch=stop), small(3, 6)),
            *(small(4, 6, on_epoch=fail), small(5, 4), small(6, 9), small(7, 6, early_stopping=1)),
        ]
        X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
        before, y = seen.setdefault(threads, []), X[:, :1].tanh()
        outcomes = train_stack(members, X, y, X, y, before_epoch=lambda places: before.append(tuple(places)))
        torch.set_num_threads(4)
        return [
            (dict(found), found.stopped_by) if isinstance(found, History) else (type(found), str(found))
            for found in outcomes
        ] + [[p.tolist() for p in member.model.parameters()] for member in members]

    monkeypatch.setattr(threads_module, "WORTH", 1)
    one = ended(1)
    assert ended(3) == ended(4) == one
    assert seen[1] == seen[3] == seen[4] and (seen[1][0], seen[1][-1]) == (tuple(range(8)), (6,))
    assert callers == {threading.main_thread()}


def test_what_fails_in_a_thread_of_a_part_ends_all_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [small(seed, 5) for seed in range(4)]
    before = []

    def spoil(places: object) -> None:
        before.append(places)
        if len(before) == 2:
            members[3].optimizer.param_groups[0]["lr"] = "fast"

    monkeypatch.setattr(threads_module, "WORTH", 1)
    X, running = torch.randn(40, 4), threading.active_count()
    with pytest.raises(ValueError, match="fast"):
        train_stack(members, X, X[:, :1], X, X[:, :1], before_epoch=spoil)
    assert threading.active_count() == running


def test_a_signal_ends_all_parts_with_their_epoch_and_the_networks_stay_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members, begun = [small(seed, 1000) for seed in range(4)], []
    found = [p.tolist() for member in members for p in member.model.parameters()]

    def send_soon(_places: object) -> None:
        begun.append(threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)))
        begun[-1].start()

    monkeypatch.setattr(threads_module, "WORTH", 1)
    X = torch.randn(60_000, 4)  # an epoch takes several times as long as the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_stack(members, X, X[:, :1], X[:9], X[:9, :1], before_epoch=send_soon)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(begun) == 1
    begun[0].join()
    assert [p.tolist() for member in members for p in member.model.parameters()] == found
    own = [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
    for thread in own:  # one whose start the signal interrupted is not waited for by its pool
        thread.join(60)
    assert not any(thread.is_alive() for thread in own)


def test_a_lazy_layer_learns_its_shape_from_what_it_is_to_forecast() -> None:
    assert predict(nn.LazyLinear(1), torch.zeros(5, 3)).shape == (5,)
