"""The training of prepared jobs: those that can be as one stack, the others one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.plugins import ask_hooks
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment.job import Job
from tradingbot_exp.experiment.stacks import NO_OTHER, stacks_of
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.training.history import History, mean_history
from tradingbot_exp.training.listeners import Curves, MetricLogger
from tradingbot_exp.training.progress import make_progress

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.training.state import Epoch, Listener

log = logging.getLogger(__name__)


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
    is_over : callable
        Asked after each fold: whether no further one is to be trained.
    """

    job: Job
    listeners: Sequence[Listener] = ()
    recorded: bool = True
    is_over: Callable[[], bool] = lambda: False


def fit_all(fittings: Sequence[Fitting]) -> list[list[History] | Exception]:
    """Train jobs, those that can be stacked at once, the others one by one.

    Returns
    -------
    list of (list of History, or Exception)
        What the training of each gave, a history a fold, or raised.
    """
    stacks, alone = stacks_of([fitting.job for fitting in fittings]) if len(fittings) != 1 else ([], {0: ""})
    outcomes: dict[int, list[History] | Exception] = {}
    for stack in stacks:
        outcomes.update(zip(stack, _fit_stack([fittings[position] for position in stack]), strict=True))
    if any(fitting.recorded for fitting in fittings):
        _say(alone, len(fittings))
    for position in alone:
        fitting = fittings[position]
        try:
            outcomes[position] = fit_folds(fitting.job, fitting.listeners, fitting.is_over)
        except Exception as error:
            outcomes[position] = error
    return [outcomes[position] for position in range(len(fittings))]


def together(job: Job, outcomes: Sequence[list[History] | Exception]) -> list[History]:
    """Return the history of each fold of a job, the mean over its networks, from what `fit_all` gave for each of them.

    Raises
    ------
    Exception
        The first of the errors among `outcomes`; of an ensemble one of training names the seed.
    """
    histories: list[list[History]] = []
    for network, outcome in zip(job.networks, outcomes, strict=True):
        if isinstance(outcome, DivergedError) and len(outcomes) > 1:
            raise DivergedError(
                f"With the seed {network.config.seed}: {outcome}", outcome.epoch, outcome.history
            ) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        histories.append(outcome)
    return [mean_history(fold) for fold in zip(*histories, strict=True)]


def _say(alone: dict[int, str], total: int) -> None:
    """Say in a line for each reason how many jobs are trained one by one; a few that are left over are not worth it."""
    few = 2 * len(alone) <= total
    for reason in dict.fromkeys(filter(None, alone.values())):
        count = list(alone.values()).count(reason)
        level = logging.DEBUG if few and reason.startswith(NO_OTHER) else logging.INFO
        log.log(level, "%d of %d models trained one by one: %s.", count, total, reason)


def _fit_stack(fittings: Sequence[Fitting]) -> list[list[History] | Exception]:
    """Train jobs as one stack, of several folds one after another; see `fit_all`."""
    for fitting in fittings:
        run = fitting.job.run
        if fitting.recorded:
            # The seeds of a trial, and the networks of an ensemble, are several models of one run.
            places = [str(place) for place, other in enumerate(fittings) if other.job.run is run]
            run.set_tags({"engine": "stacked", "stack.width": len(fittings), "stack.position": ",".join(places)})
            run.delivery.training_started()
    histories: list[list[History]] = [[] for _ in fittings]
    failed: dict[int, Exception] = {}
    going = list(range(len(fittings)))
    for number in range(1, len(fittings[0].job.folds) + 1):
        _announce(fittings[0].job, number)
        try:
            ended = _fit_stacked_fold([fittings[each] for each in going], number)
        except Exception as error:  # something that they share, such as the data
            ended = [error] * len(going)
        for position, found in zip(going, ended, strict=True):
            if isinstance(found, Exception):
                failed[position] = _in_fold(found, fittings[position].job, number, histories[position])
            else:
                histories[position].append(found)
        going = [each for each in going if each not in failed and not fittings[each].is_over()]
        if not going:
            break
    return [failed.get(position, histories[position]) for position in range(len(fittings))]


def _fit_stacked_fold(fittings: Sequence[Fitting], number: int) -> list[History | Exception]:
    from tradingbot_exp.training.stacked import train_stack
    from tradingbot_exp.training.state import Member

    folds = [fitting.job.folds[number - 1] for fitting in fittings]
    asked = folds[0].config.training
    with make_progress(asked.progress, asked.epochs) as progress:
        shown = [[progress], *[[]] * (len(folds) - 1)]
        members = [
            Member(**_own(fold, [*first, *fitting.listeners]))
            for fold, fitting, first in zip(folds, fittings, shown, strict=True)
        ]
        return train_stack(members, **_shared(folds[0]), fold=number, before_epoch=lambda _: interrupt.check())


def fit_folds(
    job: Job, listeners: Sequence[Listener] = (), is_over: Callable[[], bool] = lambda: False
) -> list[History]:
    """Train the model of each fold of a job, one after another; a listener that stops one stops that one alone.

    Parameters
    ----------
    job, listeners, is_over
        See `Fitting`.

    Returns
    -------
    list of History
        One a fold, but for those that were not trained.

    Raises
    ------
    DivergedError
        Names the fold, if there are several; its history is the mean over the folds so far.
    """
    histories: list[History] = []
    for number in range(1, len(job.folds) + 1):
        _announce(job, number)
        try:
            histories.append(_fit_fold(job, number, listeners))
        except DivergedError as error:
            raise _in_fold(error, job, number, histories) from error
        if is_over():
            break
    return histories


def _announce(job: Job, number: int) -> None:
    """Say which fold of several is trained now."""
    fold = job.folds[number - 1]
    if len(job.folds) > 1 and fold.config.training.progress != "off":
        log.info("fold %d of %d: %s", number, len(job.folds), _in_words(fold.data))


def _in_fold(error: Exception, job: Job, number: int, before: Sequence[History]) -> Exception:
    """Let the error of a diverging model name its fold, where there are several, and hold the mean of all so far."""
    if not isinstance(error, DivergedError) or len(job.folds) == 1:
        return error
    mean = mean_history([*before, error.history])
    found = DivergedError(f"In fold {number} of {len(job.folds)}: {error}", error.epoch, mean)
    found.__cause__ = error
    return found


def fit_model(job: Job, logger: MetricLogger, *listeners: Listener) -> History:
    """Train one job's model, of several folds the last one's, and log its curves."""
    return _fit_fold(job, len(job.folds), [Curves(logger), *listeners])


def _fit_fold(job: Job, number: int, listeners: Sequence[Listener]) -> History:
    from tradingbot_exp.training.loop import train_model

    fold, config, checkpointer = job.folds[number - 1], job.config.training, job.checkpointer
    told = [*listeners, _BetweenEpochs(job.config)]
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
        "quantile": training.quantile,
        "pos_weight": training.pos_weight,
    }


def _shared(job: Job) -> dict[str, Any]:
    """Return what the models of a stack share, of the arguments of `train_model`."""
    data, training = job.data, job.config.training
    # What learns from all rows has no others: its loss after an epoch is that of the rows it learns from.
    train, val = data.train, data.val if len(data.val) else data.train
    return {
        "X_train": data.inputs(train),
        "y_train": data.targets(train),
        "X_val": data.inputs(val),
        "y_val": data.targets(val),
        "batch_size": training.batch_size,
        "loss": training.loss,
        "precision": training.precision,
        "returns_train": data.returns(train),
        "returns_val": data.returns(val),
        "dates_train": data.layout.date[train.rows],
        "dates_val": data.layout.date[val.rows],
    }


@dataclass(frozen=True)
class _BetweenEpochs:
    """Lets a signal end training, and asks the hooks of plugins."""

    config: Config

    def on_epoch(self, epoch: Epoch) -> bool:
        interrupt.check()
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
