"""Which prepared jobs can be trained as one stack, and which one by one and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradingbot_exp.config.registries import EPOCH_HOOKS
from tradingbot_exp.experiment.job import Job

# How the reason of a job begins that could be stacked, had it a like.
NO_OTHER = "no other has its shape"


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
        reason = why_alone(job)
        if reason:
            alone[position] = reason
        else:
            groups.setdefault(_key(job), []).append(position)
    for group in groups.values():
        if len(group) == 1:
            size = jobs[group[0]].config.training.batch_size
            alone[group[0]] = f"{NO_OTHER}, batch size ({size}) and kind of training"
    return [group for group in groups.values() if len(group) > 1], alone


def why_alone(job: Job) -> str:
    """Return what keeps a job from being stacked with any other; empty if nothing does."""
    from tradingbot_exp.training.device import resolve_device
    from tradingbot_exp.training.rules import STACKED_OPTIMIZERS
    from tradingbot_exp.training.shape import read_layers

    config, training = job.config, job.config.training
    device = resolve_device(training.device).type
    reasons = (
        (
            job.earlier,
            f"the {len(job.folds)} folds of evaluation.scheme={config.evaluation.scheme} are trained in turn",
        ),
        (job.checkpointer, "checkpoints (training.checkpoint_every) are kept of one model at a time"),
        (EPOCH_HOOKS, "hooks of plugins are asked after each epoch of one model"),
        (read_layers(job.model) is None, f"model={config.model.name} is not a plain stack of linear layers"),
        (
            training.optimizer not in STACKED_OPTIMIZERS,
            f"training.optimizer={training.optimizer} is none of {', '.join(STACKED_OPTIMIZERS)}",
        ),
        (training.precision == "bf16-mixed", "training.precision=bf16-mixed is not stacked"),
        (device != "cpu", f"stacks are trained on the CPU, and training.device is {device} here"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _key(job: Job) -> tuple[Any, ...]:
    """Return what jobs of one stack share."""
    from tradingbot_exp.training.shape import read_layers, sizes_of

    training = job.config.training
    shape = sizes_of(read_layers(job.model) or [])
    rule = (training.optimizer, training.momentum)
    return (id(job.data), shape, training.batch_size, training.loss, training.precision, rule)
