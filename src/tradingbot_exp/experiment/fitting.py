"""Which prepared jobs are trained as one stack, which one by one and why, and their training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.plugins import ask_hooks
from tradingbot_exp.config.registries import EPOCH_HOOKS
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment.job import Job
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.training.history import History, mean_history
from tradingbot_exp.training.listeners import Curves, MetricLogger
from tradingbot_exp.training.progress import make_progress

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.training.state import Epoch, Listener

log = logging.getLogger(__name__)

# How the reason of a job begins that could be stacked, had it a like.
_NO_OTHER = "no other has its shape"


@dataclass(frozen=True)
class Fitting:
    """A job to be trained.

    Attributes
    ----------
    job : Job
    listeners : sequence of Listener
        Told of each epoch of each fold: see `tradingbot_exp.training.state.Epoch`.
    recorded : bool
        Whether the job's run is to say how it was trained.
    """

    job: Job
    listeners: Sequence[Listener] = ()
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
        (EPOCH_HOOKS, "hooks of plugins are asked after each epoch of one model"),
        (read_layers(job.model) is None, f"model={config.model.name} is not a plain stack of linear layers"),
        (
            training.optimizer not in STACKED_OPTIMIZERS,
            f"training.optimizer={training.optimizer} is none of {', '.join(STACKED_OPTIMIZERS)}",
        ),
        (
            LOSSES[training.loss].gradient is None,
            f"training.loss={training.loss} has no gradient in closed form, as stacks need",
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
            outcomes[position] = fit_folds(fitting.job, fitting.listeners, after_epoch)
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


def _fit_stack(fittings: Sequence[Fitting], after_epoch: Callable[[], object]) -> list[History | Exception]:
    from tradingbot_exp.training.stacked import train_stack
    from tradingbot_exp.training.state import Member

    def between_epochs(_positions: Sequence[int]) -> None:
        interrupt.check()
        after_epoch()

    for fitting in fittings:
        run = fitting.job.run
        if fitting.recorded:
            # The seeds of a trial are several models of one run.
            places = [str(place) for place, other in enumerate(fittings) if other.job.run is run]
            run.set_tags({"engine": "stacked", "stack.width": len(fittings), "stack.position": ",".join(places)})
            run.delivery.training_started()
    members = [Member(**_own(fitting.job, fitting.listeners)) for fitting in fittings]
    return train_stack(members, **_shared(fittings[0].job), before_epoch=between_epochs)


def fit_folds(
    job: Job, listeners: Sequence[Listener] = (), after_epoch: Callable[[], object] = lambda: None
) -> list[History]:
    """Train the model of each fold of a job, one after another.

    Parameters
    ----------
    job : Job
    listeners : sequence of Listener
    after_epoch : callable, optional
        Called after each epoch.

    Returns
    -------
    list of History
        One a fold; fewer if a listener stopped one, as no further fold is begun then.

    Raises
    ------
    DivergedError
        Names the fold, if there are several; its history is the mean over the folds so far.
    """
    histories: list[History] = []
    several = len(job.folds) > 1
    for number, fold in enumerate(job.folds, 1):
        if several and fold.config.training.progress != "off":
            log.info("fold %d of %d: %s", number, len(job.folds), _in_words(fold.data))
        try:
            histories.append(_fit_fold(job, number, listeners, after_epoch))
        except DivergedError as error:
            if not several:
                raise
            mean = mean_history([*histories, error.history])
            raise DivergedError(f"In fold {number} of {len(job.folds)}: {error}", error.epoch, mean) from error
        if histories[-1].stopped_by == "hook":
            break
    return histories


def fit_model(job: Job, logger: MetricLogger, *listeners: Listener) -> History:
    """Train one job's model, of several folds the last one's, and log its curves."""
    return _fit_fold(job, len(job.folds), [Curves(logger), *listeners])


def _fit_fold(
    job: Job, number: int, listeners: Sequence[Listener], after_epoch: Callable[[], object] = lambda: None
) -> History:
    from tradingbot_exp.training.loop import train_model

    fold, config, checkpointer = job.folds[number - 1], job.config.training, job.checkpointer
    told = [*listeners, _BetweenEpochs(job.config, after_epoch)]
    job.run.delivery.training_started()
    with make_progress(config.progress, config.epochs) as progress:
        return train_model(
            **_own(fold, [progress, *told, *([] if checkpointer is None else [checkpointer])]),
            **_shared(fold),
            criterion=None,
            device=config.device,
            resume=None if checkpointer is None else checkpointer.snapshot_of(number),
            fold=number,
        )


def _own(job: Job, listeners: Sequence[Listener]) -> dict[str, Any]:
    """Return what a model has for itself, of the arguments of `train_model`."""
    from tradingbot_exp.training.optim import make_optimizer

    training = job.config.training
    numbers = (training.learning_rate, training.weight_decay, training.momentum)
    return {
        "model": job.model,
        "optimizer": make_optimizer(training.optimizer, job.model.parameters(), *numbers),
        "epochs": training.epochs,
        "seed": job.config.seed,
        "scheduler": training.scheduler,
        "early_stopping": training.early_stopping,
        "gradient_clip": training.gradient_clip,
        "listeners": listeners,
    }


def _shared(job: Job) -> dict[str, Any]:
    """Return what the models of a stack share, of the arguments of `train_model`."""
    data, training = job.data, job.config.training
    return {
        "X_train": data.inputs(data.train),
        "y_train": data.targets(data.train),
        "X_val": data.inputs(data.val),
        "y_val": data.targets(data.val),
        "batch_size": training.batch_size,
        "loss": training.loss,
        "precision": training.precision,
    }


@dataclass(frozen=True)
class _BetweenEpochs:
    """Lets a signal end training, and asks the hooks of plugins."""

    config: Config
    after_epoch: Callable[[], object]

    def on_epoch(self, epoch: Epoch) -> bool:
        interrupt.check()
        self.after_epoch()
        return not epoch.diverged and ask_hooks(epoch.number, epoch.losses, self.config)


def _in_words(data: PreparedData) -> str:
    """Name the bars that a fold trains on and is validated on."""
    first, last = data.index[[data.train.start, data.train.stop - 1]]
    said = f"trains on {first} to {last}"
    if data.train.hole is not None:
        first, last = data.index[[data.train.hole[0], data.train.hole[1] - 1]]
        said += f" without {first} to {last}"
    first, last = data.index[[data.val.start, data.val.stop - 1]]
    return f"{said}, is validated on {first} to {last}".replace(" 00:00:00", "")
