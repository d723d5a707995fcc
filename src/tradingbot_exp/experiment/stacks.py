"""Which prepared jobs can be trained as one stack, and which one by one and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.registries import EPOCH_HOOKS
from tradingbot_exp.data.splits import Block
from tradingbot_exp.experiment.job import Job

if TYPE_CHECKING:
    from tradingbot_exp.training.networks.plan import Plan

# How the reason of a job begins that could be stacked, had it a like.
NO_OTHER = "no other has its shape"


# Rows with which a module is tried.
_TRIED = 8


def stacks_of(jobs: Sequence[Job]) -> tuple[list[list[int]], dict[int, str]]:
    """Group jobs that can be trained as one stack: same data, shape, batch size, loss, precision and optimizer.

    Returns
    -------
    stacks : list of list of int
        Positions in `jobs`; each group has at least two.
    alone : dict of int to str
        Positions of all others, each with the reason.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    alone: dict[int, str] = {}
    for position, job in enumerate(jobs):
        key = _key(job)
        if isinstance(key, str):
            alone[position] = key
        else:
            groups.setdefault(key, []).append(position)
    for group in groups.values():
        if len(group) == 1:
            size = jobs[group[0]].config.training.batch_size
            alone[group[0]] = f"{NO_OTHER}, batch size ({size}) and kind of training"
    return [group for group in groups.values() if len(group) > 1], alone


def why_alone(job: Job) -> str:
    """Return what keeps a job from being stacked with any other; empty if nothing does."""
    key = _key(job)
    return key if isinstance(key, str) else ""


def _key(job: Job) -> tuple[Any, ...] | str:
    """Return what jobs of one stack share, or what keeps a job from being stacked with any other."""
    from tradingbot_exp.training.device import resolve_device
    from tradingbot_exp.training.rules import STACKED_OPTIMIZERS

    config, training = job.config, job.config.training
    device = resolve_device(training.device).type
    reasons = (
        (job.checkpointer, "checkpoints (training.checkpoint_every) are kept of one model at a time"),
        (EPOCH_HOOKS, "hooks of plugins are asked after each epoch of one model"),
        (
            training.optimizer not in STACKED_OPTIMIZERS,
            f"training.optimizer={training.optimizer} is none of {', '.join(STACKED_OPTIMIZERS)}",
        ),
        (training.precision == "bf16-mixed", "training.precision=bf16-mixed is not stacked"),
        (device != "cpu", f"stacks are trained on the CPU, and training.device is {device} here"),
    )
    if reason := next((reason for holds, reason in reasons if holds), ""):
        return reason
    plan = _plan(job)
    if isinstance(plan, str):
        return f"model={config.model.name} cannot be stacked: {plan}"
    if LOSSES[training.loss].in_order and not plan.kind.pads:
        return f"model={config.model.name} cannot be stacked: batches of training.loss={training.loss} differ in size"
    if reason := plan.why_not_worth_it(min(training.batch_size, len(job.data.train))):
        return f"model={config.model.name}: {reason}"
    data = tuple(id(fold.data) for fold in job.folds)
    rule = (training.optimizer, training.momentum)
    return (data, plan.key, training.batch_size, training.loss, training.precision, rule)


def _plan(job: Job) -> Plan | str:
    """Return how a job's model is trained in a stack, or what keeps it from that."""
    import torch

    from tradingbot_exp.training.inputs import as_tensor
    from tradingbot_exp.training.networks.plan import plan_of

    dtype = torch.float64 if job.config.training.precision == "float64" else torch.float32
    train = job.data.train
    first = Block(
        train.name, train.start, min(train.start + _TRIED, train.stop)
    )  # all windows of a panel would be copied
    rows = as_tensor(job.data.inputs(first), "X_train", dtype, torch.device("cpu"))
    return plan_of(job.model, rows, dtype)
