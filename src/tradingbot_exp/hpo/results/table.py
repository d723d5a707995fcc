"""The table that a person reads at the end of a study, and the commands that train its trials again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradingbot_exp.data.card import GIVEN_ARRAYS
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.trials import STATES, counting
from tradingbot_exp.runtime.text import train_command

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.study import Study, StudyResult

TABLE_ROWS = 5


def result_table(study: Study, result: StudyResult, judged: Sequence[str] = (), model: str = "") -> str:
    """Say how a study ended: its best trials, what is said of the winner, and the command that trains it again.

    `model` is what its model is registered as, if it is.
    """
    hpo = study.config.hpo
    metric = ", ".join(objective.metric for objective in objectives_of(hpo))
    if study.config.evaluation.scheme != "chronological":
        metric += f" ({hpo.aggregate.replace('_', ' ')} of {study.config.evaluation.folds} folds)"
    if hpo.repeats > 1:
        metric += f" (mean of {hpo.repeats} seeds)"
    counts = Counter(trial.state for trial in counting(study.optuna))
    lines = [
        "",
        f"Study {study.name}  (run {result.parent_id})",
        f"  {', '.join(f'{counts[state]} {name}' for state, name in STATES.items())} of {study.total}",
    ]
    if result.stopped_early:
        lines.append(f"  stopped early: {result.stopped_early}")
    if not result.best:
        return "\n".join([*lines, "  no trial is complete", ""])
    names = list(result.best[0].params)
    short = [name.rpartition(".")[2] for name in names]
    rows = [["trial", metric, *short]]
    for trial in result.best[:TABLE_ROWS]:
        values = ", ".join(f"{value:.6g}" for value in trial.values)
        rows.append([str(trial.number), values, *(_shown(trial.params[name]) for name in names)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += [
        "",
        *("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows),
    ]
    registered = [f"  its model is registered as {model}"] if model else []
    said = ["", *(f"  {line}" for line in judged)] if judged else []
    return "\n".join([*lines, *said, "", *_winner_alone(study, result.best[0]), *registered, ""])


def _winner_alone(study: Study, trial: FrozenTrial) -> list[str]:
    """Say how the winner is trained by itself; of given arrays no command knows, so that its parameters have to do."""
    command = command_of(study, trial)
    if command:
        return ["  the winner by itself:", f"  {command}"]
    found = study.space.decode(trial.params).items()
    return ["  the winner's parameters:", *(f"  config.{key} = {value!r}" for key, value in found)]


def command_of(study: Study, trial: FrozenTrial) -> str:
    """Return the command that trains a trial by itself; empty for arrays that `run_hpo_study` was given."""
    if load_data(study.config).card.get("source") == GIVEN_ARRAYS:
        return ""
    own = [word for word in study.overrides if not word.lstrip("+").startswith(("hpo", "tracking.register="))]
    # The other learning rate follows by itself.
    found = [word for word in study.space.overrides(trial.params) if "training.learning_rate=" not in word]
    return train_command([*own, *found])


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
