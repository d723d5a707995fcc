"""The number of threads: what the work is worth, and the same bits whatever it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tradingbot_exp.training import make_optimizer, train_model
from tradingbot_exp.training.predict import predict
from tradingbot_exp.training.stacked import Member, train_stack
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
