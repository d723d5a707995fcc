"""Which prepared jobs are trained as one stack, which one by one and why, and their training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.plugins import EPOCH_HOOKS, ask_hooks
from tradingbot_exp.experiment.folds import train_in_turn
from tradingbot_exp.experiment.job import Job
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.training.progress import make_progress

if TYPE_CHECKING:
    from tradingbot_exp.training.checkpoint import Keeper
    from tradingbot_exp.training.history import History

log = logging.getLogger(__name__)

# How the reason of a job begins that could be stacked, had it a like.
_NO_OTHER = "no other has its shape"


@dataclass(frozen=True)
class Fitting:
    """A job to be trained.

    Attributes
    ----------
    job : Job
    logger : object with ``log_metrics(metrics, step)``
        Gets the losses of each epoch.
    on_epoch : callable, optional
        See `tradingbot_exp.training.train_model`.
    recorded : bool
        Whether the job's run is to say how it was trained.
    """

    job: Job
    logger: Any
    on_epoch: Callable[[int, dict[str, float]], bool | None] | None = None
    recorded: bool = True


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
            alone[group[0]] = f"{_NO_OTHER}, batch size ({size}) and kind of training"
    return [group for group in groups.values() if len(group) > 1], alone


def why_alone(job: Job) -> str:
    """Say what keeps a job from being stacked with any other; empty if nothing does."""
    from tradingbot_exp.training.device import resolve_device
    from tradingbot_exp.training.lean import read_layers
    from tradingbot_exp.training.rules import STACKED_OPTIMIZERS

    training, model = job.config.training, job.config.model.name
    if job.earlier:
        return f"the {len(job.folds)} folds of evaluation.scheme={job.config.evaluation.scheme} are trained in turn"
    if EPOCH_HOOKS:
        return "hooks of plugins are asked after each epoch of one model"
    if read_layers(job.model) is None:
        return f"model={model} is no plain stack of linear layers"
    if training.optimizer not in STACKED_OPTIMIZERS:
        return f"training.optimizer={training.optimizer} is none of {', '.join(STACKED_OPTIMIZERS)}"
    if training.precision == "bf16-mixed":
        return "training.precision=bf16-mixed is not stacked"
    device = resolve_device(training.device).type
    return "" if device == "cpu" else f"stacks are trained on the CPU, and training.device is {device} here"


def _key(job: Job) -> tuple[Any, ...]:
    """Give what jobs of one stack share."""
    from tradingbot_exp.training.lean import read_layers

    training = job.config.training
    layers = read_layers(job.model) or []
    shape = tuple((tuple(part.weight.shape), part.bias is not None, part.kind, part.drops) for part in layers)
    rule = (training.optimizer, training.momentum)
    return (id(job.data), shape, training.batch_size, training.loss, training.precision, rule)


def fit_all(
    fittings: Sequence[Fitting], after_epoch: Callable[[], object] = lambda: None
) -> list[list[History] | Exception]:
    """Train jobs, those that can be stacked at once, the others one by one.

    Parameters
    ----------
    fittings : sequence of Fitting
    after_epoch : callable, optional
        Called after each epoch of a stack, or of a job that is trained alone.

    Returns
    -------
    list of (list of History, or Exception)
        What the training of each gave, a history a fold, or raised.
    """
    stacks, alone = stacks_of([fitting.job for fitting in fittings]) if len(fittings) > 1 else ([], {0: ""})
    outcomes: dict[int, list[History] | Exception] = {}
    for stack in stacks:
        try:
            ended = _fit_stack([fittings[position] for position in stack], after_epoch)
        except Exception as error:  # something that they share, such as the data
            ended = [error] * len(stack)
        for position, found in zip(stack, ended, strict=True):
            outcomes[position] = found if isinstance(found, Exception) else [found]
    if any(fitting.recorded for fitting in fittings):
        _say(alone, len(fittings))
    for position in alone:
        fitting = fittings[position]
        try:
            outcomes[position] = _fit_one(fitting, after_epoch)
        except Exception as error:
            outcomes[position] = error
    return [outcomes[position] for position in range(len(fittings))]


def _say(alone: dict[int, str], total: int) -> None:
    """Say in a line for each reason how many jobs are trained one by one; a few that are left over are not worth it."""
    few = 2 * len(alone) <= total
    for reason in dict.fromkeys(filter(None, alone.values())):
        count = list(alone.values()).count(reason)
        level = logging.DEBUG if few and reason.startswith(_NO_OTHER) else logging.INFO
        log.log(level, "%d of %d models trained one by one: %s.", count, total, reason)


def _fit_one(fitting: Fitting, after_epoch: Callable[[], object]) -> list[History]:
    def on_epoch(epoch: int, record: dict[str, float]) -> bool | None:
        stop = None if fitting.on_epoch is None else fitting.on_epoch(epoch, record)
        after_epoch()
        return stop

    return fit_folds(fitting.job, fitting.logger, on_epoch)


def _fit_stack(fittings: Sequence[Fitting], after_epoch: Callable[[], object]) -> list[History | Exception]:
    from tradingbot_exp.training.optim import make_optimizer
    from tradingbot_exp.training.stacked import Member, train_stack

    def between_epochs(_positions: Sequence[int]) -> None:
        interrupt.check()
        after_epoch()

    members = []
    for fitting in fittings:
        job, training = fitting.job, fitting.job.config.training
        if fitting.recorded:
            # The seeds of a trial are several models of one run.
            places = [str(place) for place, other in enumerate(fittings) if other.job.run is job.run]
            job.run.set_tags({"engine": "stacked", "stack.width": len(fittings), "stack.position": ",".join(places)})
            job.run.delivery.training_started()
        numbers = (training.learning_rate, training.weight_decay, training.momentum)
        members.append(
            Member(
                job.model,
                make_optimizer(training.optimizer, job.model.parameters(), *numbers),
                training.epochs,
                job.config.seed,
                scheduler=training.scheduler,
                early_stopping=training.early_stopping,
                gradient_clip=training.gradient_clip,
                logger=fitting.logger,
                on_epoch=fitting.on_epoch,
            )
        )
    first = fittings[0].job
    data, training = first.data, first.config.training
    return train_stack(
        members,
        data.inputs(data.train),
        data.targets(data.train),
        data.inputs(data.val),
        data.targets(data.val),
        batch_size=training.batch_size,
        loss=training.loss,
        precision=training.precision,
        before_epoch=between_epochs,
    )


def fit_folds(
    job: Job, logger: Any, on_epoch: Callable[[int, dict[str, float]], bool | None] | None = None
) -> list[History]:
    """Train the model of each fold of a job: see `fit_model`, and `tradingbot_exp.experiment.folds.train_in_turn`."""
    keeper = job.keeper

    def train(fold: Job, curves: Any) -> History:
        return fit_model(fold, curves, on_epoch, None if keeper is None else keeper.next_fold())

    return train_in_turn(job.folds, logger, train)


def fit_model(
    job: Job,
    logger: Any,
    on_epoch: Callable[[int, dict[str, float]], bool | None] | None = None,
    keeper: Keeper | None = None,
) -> History:
    """Train one job's model, of several folds the last one's.

    Parameters
    ----------
    job : Job
    logger : object with ``log_metrics(metrics, step)``
        Gets the losses of each epoch.
    on_epoch, keeper
        See `train_model`.
    """
    from tradingbot_exp.training.loop import train_model
    from tradingbot_exp.training.optim import make_optimizer

    def after_epoch(epoch: int, record: dict[str, float]) -> bool | None:
        interrupt.check()
        stop = ask_hooks(epoch, record, job.config)
        return (on_epoch is not None and on_epoch(epoch, record)) or stop

    config, data = job.config.training, job.data
    numbers = (config.learning_rate, config.weight_decay, config.momentum)
    optimizer = make_optimizer(config.optimizer, job.model.parameters(), *numbers)
    job.run.delivery.training_started()
    with make_progress(config.progress, config.epochs) as progress:
        return train_model(
            job.model,
            data.inputs(data.train),
            data.targets(data.train),
            data.inputs(data.val),
            data.targets(data.val),
            optimizer,
            None,
            config.epochs,
            logger,
            batch_size=config.batch_size,
            seed=job.config.seed,
            loss=config.loss,
            scheduler=config.scheduler,
            device=config.device,
            precision=config.precision,
            early_stopping=config.early_stopping,
            gradient_clip=config.gradient_clip,
            on_epoch=after_epoch,
            progress=progress,
            keeper=keeper,
        )
