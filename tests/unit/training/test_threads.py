"""The number of threads: what the work is worth, the same bits whatever it is, and one where several are slow."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tradingbot_exp.training import make_optimizer, train_model
from tradingbot_exp.training.stacked import Member, train_stack
from tradingbot_exp.training.threads import MODELS, PAUSE, WORTH, Threads


@pytest.fixture(autouse=True)
def four() -> Iterator[None]:
    """Four threads, as many as a machine may have; afterwards what there was."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4  # nothing that ends leaves another number behind
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("parameters", "models", "expected"),
    [(3000, 1, 1), (3000, 2 * MODELS - 1, 1), (3000, 2 * MODELS, 2), (3000, 1000, 4), (WORTH // 32, 1, 4)],
)
def test_small_models_have_a_thread_for_so_many_and_large_ones_have_all(
    parameters: int, models: int, expected: int
) -> None:
    with Threads(parameters, 32).of(models) as several:
        assert several == torch.get_num_threads() == expected
    torch.set_num_threads(1)
    with Threads(parameters, 32).of(models) as several:
        assert several == 1
    torch.set_num_threads(4)


def epoch(threads: Threads, seconds: float) -> list[int]:
    """Give the number of threads after each of six batches that take so long."""
    found = []
    with threads.epoch(2 * MODELS) as after_batch:
        for _ in range(6):
            time.sleep(seconds)
            after_batch()
            found.append(torch.get_num_threads())
    return found


def test_several_threads_are_given_up_where_they_are_slower_and_tried_again_later() -> None:
    threads = Threads(3000, 32)
    assert epoch(threads, 0.01) == [1] * 6  # to know what one takes
    assert epoch(threads, 0.0) == [2] * 6
    assert epoch(threads, 0.1) == [2, 2, 2, 1, 1, 1]
    assert [epoch(threads, 0.0) for _ in range(PAUSE)] == [[1] * 6] * PAUSE
    assert epoch(threads, 0.1)[0] == 2
    assert [epoch(threads, 0.0)[0] for _ in range(2 * PAUSE + 1)] == [1] * 2 * PAUSE + [2]


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
    assert torch.equal(trained(1, 2 * MODELS), trained(2, 2 * MODELS))
    assert torch.equal(trained(1, 4 * MODELS), trained(4, 4 * MODELS))


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
