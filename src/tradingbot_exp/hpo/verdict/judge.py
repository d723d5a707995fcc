"""Is a study's winner real? The evidence is gathered at the study's end, judged, and recorded on the parent run."""

from __future__ import annotations

import json
import logging
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from filelock import FileLock

from tradingbot_exp.config.choices import BLIND_SAMPLERS
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.splits import joined
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns
from tradingbot_exp.evaluation.significance.across import Across, by_own_means, outcome_means
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.overfitting import Overfitting
from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.series import Before
from tradingbot_exp.evaluation.significance.verdict import REPETITIONS, judge, repetitions_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.results.bars import BEFORE, FORECASTS, MEANS, PRODUCTS, RETURNS, SQUARES
from tradingbot_exp.hpo.results.recording import configurations
from tradingbot_exp.hpo.trials import best_trials
from tradingbot_exp.hpo.verdict.null_search import replay
from tradingbot_exp.hpo.verdict.seed_robustness import train_other_seeds
from tradingbot_exp.terminal.text import WIDTH
from tradingbot_exp.tracking.reading.artifacts import mapping_file
from tradingbot_exp.tracking.reading.records import VERDICT_FILE
from tradingbot_exp.tracking.store.errors import DamagedError, reason

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import Block, PreparedData
    from tradingbot_exp.hpo.results.bars import Kept
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)


class Judgement(NamedTuple):
    """What came of it: lines for the terminal, and whether the winner is real, on inputs and dates that are clean."""

    lines: list[str]
    is_shown: bool


def judge_study(
    study: Study,
    parent: TrackedRun,
    organizer: ExperimentOrganizer,
    store: Store,
    trials: Sequence[FrozenTrial],
    *,
    matrices: Mapping[Kept, pd.DataFrame],
    ever: int,
) -> Judgement:
    """Judge the winner of a study that is over, train it with other seeds, replay the search, and record all of it.

    On the parent run: ``study/verdict.json``, the tags ``verdict``, ``verdict.…``, and the metrics
    ``verdict_…`` and ``winner_seed_…``. What cannot be judged says why there; nothing but an interruption, or a store
    that fails, ends the study here.

    Parameters
    ----------
    study : Study
    parent : TrackedRun
        Its run.
    organizer : ExperimentOrganizer
        Opens the runs of replays.
    store : Store
    trials : sequence of FrozenTrial
        Those that count, however they ended.
    matrices : mapping of Kept to DataFrame
        See `tradingbot_exp.hpo.results.matrices.trial_matrices`.
    ever : int
        Configurations ever tried on these bars, as the ledger counts them.

    Returns
    -------
    Judgement
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(study.folder / ".verdict.lock"):  # of several processes, the second finds it all recorded
        winner = next(iter(best_trials(study.optuna)), None)
        earlier = _recorded(store, parent.run_id)
        found = _attempt(lambda: _judged(study, trials, winner, matrices, ever), "The study cannot be judged")
        if "problem" in found:
            found = _cannot_be_told(f"it could not be judged ({found['problem']})")
        # Which of the study's dates were a test set before: see `tracking.reading.openings.tell_of_openings`.
        found = _on_seen_dates(found, store.run(parent.run_id).data.tags.get("test.overlap", ""))
        _record(parent, earlier | found)
        making: dict[str, Callable[[], Repetition | None]] = {}
        if winner is not None:
            making["seeds"] = lambda: train_other_seeds(study, parent, winner, earlier.get("seeds"))
            making["null_replays"] = lambda: replay(study, parent, organizer, store, winner)
        for name, make in making.items():  # which may take long, and be interrupted
            made = _attempt(make, f"The winner cannot be {REPETITIONS[name].DEED}")
            found[name] = asdict(made) if isinstance(made, Repetition) else made
            _record(parent, earlier | found)
    return Judgement(_lines(found), found["word"] == "real" and found.get("inputs") == "checked" and not found["seen"])


def evidence_of(
    config: Config,
    trials: Sequence[FrozenTrial],
    winner: FrozenTrial,
    matrices: Mapping[Kept, pd.DataFrame],
    ever: int,
) -> StudyEvidence:
    """Gather what the verdict rests on: see `StudyEvidence`."""
    data, objective = load_data(config), objectives_of(config.hpo)[0]
    views = fold_views(data, config.evaluation)
    names = sorted({str(name) for matrix in matrices.values() for name in matrix.columns}, key=int)
    number = str(winner.user_attrs.get("duplicate_of", winner.number))
    returns = market = actual = forecasts = before = across = None
    rules, own = Rules.of(config, data), by_own_means(config)

    def matrix_of(kept: Kept) -> np.ndarray:
        return np.concatenate([_rows(matrices[kept], view, names) for view in views])

    if data.next_return is not None and not matrices[RETURNS].empty:
        market = _market(data, joined([view.val for view in views]))
        returns = matrix_of(RETURNS)
    kept_as = MEANS if data.symbols else FORECASTS
    if not matrices[kept_as].empty:
        forecasts = matrix_of(kept_as)
        means = [outcome_means(view, own=own) for view in views]
        actual, squares = (np.concatenate(each) for each in zip(*means, strict=True))
        if data.symbols:
            across = Across(squares, matrix_of(PRODUCTS), matrix_of(SQUARES))
    if not matrices[BEFORE].empty:
        sums = matrices[BEFORE].reindex(columns=names)
        before = Before(*(sums.xs(name, level="sum").to_numpy(np.float64) for name in Before._fields))
    return StudyEvidence(
        metric=objective.metric,
        direction=objective.direction,
        winner=names.index(number) if number in names else None,
        tried=max(configurations(trials), 1),
        ever=ever,
        planned=config.hpo.num_trials,
        climbed=0 if config.hpo.sampler in BLIND_SAMPLERS else len(winner.distributions),
        # Less the means of their dates, forecasts that take no side are 0.
        rules=replace(rules, neutral=0.0) if own else rules,
        actual=actual,
        forecasts=forecasts,
        market=market,
        returns=returns,
        folds=np.repeat(np.arange(len(views)), [len(view.days(view.val)) for view in views]),
        before=before,
        across=across,
        loss=config.training.loss,
    )


def _rows(matrix: pd.DataFrame, view: PreparedData, names: Sequence[str]) -> np.ndarray:
    """Return the values of a fold's validated bars, shape (bars, trials); NaN for what is not there."""
    return matrix.reindex(index=view.days(view.val), columns=list(names)).to_numpy(dtype=np.float64)


def _market(data: PreparedData, rows: Block) -> np.ndarray:
    """Return what buy and hold earns on each validated date."""
    return buy_and_hold_returns(data.returns(rows), data.layout.take(rows.rows))  # type: ignore[arg-type]


def _judged(
    study: Study,
    trials: Sequence[FrozenTrial],
    winner: FrozenTrial | None,
    matrices: Mapping[Kept, pd.DataFrame],
    ever: int,
) -> dict[str, Any]:
    if winner is None:
        return _cannot_be_told("no trial is complete")
    evidence = evidence_of(study.config, trials, winner, matrices, ever)
    verdict, hpo = judge(evidence), study.config.hpo
    word, headline, reasons = str(verdict.word), verdict.headline, list(verdict.reasons)
    gate = check_leaks(_data_of(study, winner))
    if word == "real" and gate.inputs == "not checked":
        headline = f"Real, if its inputs know no future (not checked){headline.removeprefix('Real')}"
        reasons.insert(0, f"Nobody can see whether they do: {', '.join(gate.unchecked)}.")
    if word == "real" and gate.why:
        reasons.insert(0, f"But for that: {headline}")
        word = "cannot be told"
        headline = f"Cannot be told: {gate.why}."
    if len(objectives_of(hpo)) > 1:
        reasons.insert(0, f"Of several metrics the first is judged, {evidence.metric}, and its best: {winner.number}.")
    if hpo.repeats > 1:
        reasons.append(f"What is tested are the bars of the first of {hpo.repeats} seeds.")
    return {
        "word": word,
        "inputs": gate.inputs,
        "headline": headline,
        "reasons": reasons,
        "metric": evidence.metric,
        "direction": evidence.direction,
        "family": evidence.family,
        "winner": winner.number,
        "winner_run_id": winner.user_attrs.get("run_id"),
        "value": float(winner.values[0]),
        **{name: getattr(evidence, name) for name in ("count", "tried", "ever", "planned")},
        "tested": verdict.test.tested,
        "bars": verdict.bars,
        "periods_per_year": evidence.rules.annual,
        "horizon": evidence.rules.horizon,
        "numbers": {
            name: {"value": number.value, "problem": number.problem or None} for name, number in verdict.numbers.items()
        },
        "pbo_logits": _logits(verdict.overfitting),
    }


def _data_of(study: Study, winner: FrozenTrial) -> PreparedData:
    """Return the data that the winner was trained on: features may be searched."""
    searched = [key for parameter in study.space.parameters.values() for key in parameter.targets]
    if not any(key.startswith("data.") for key in searched):
        return load_data(study.config)
    return load_data(study.trial_config(winner.params))


def _on_seen_dates(found: dict[str, Any], seen: str) -> dict[str, Any]:
    """Say with the word that dates were a test set before."""
    if not seen:
        return found | {"seen": ""}
    headline = found["headline"]
    if found["word"] == "real":
        headline = f"Real, on dates that somebody has seen as a test set{headline.removeprefix('Real')}"
    reason = f"Train or validation dates were a test set before: {seen}. Whoever saw it is not blind here."
    return found | {"seen": seen, "headline": headline, "reasons": [reason, *found["reasons"]]}


def _logits(found: Overfitting) -> list[list[float]]:
    """Return the distinct logits of the cross-validation, each with how often it came."""
    values, counts = np.unique(np.round(found.logits, 6), return_counts=True)
    return [[float(value), int(count)] for value, count in zip(values, counts, strict=True)]


def _cannot_be_told(because: str) -> dict[str, Any]:
    headline = f"Cannot be told: {because}."
    return {"word": "cannot be told", "headline": headline, "reasons": [], "numbers": {}, "pbo_logits": []}


def _attempt(make: Callable[[], object], failure: str) -> Any:
    """Return what `make` makes; of an error its text, as ``problem``: the study has its result already."""
    try:
        return make()
    except Exception as error:
        log.warning("%s: %s", failure, error, exc_info=log.isEnabledFor(logging.DEBUG))
        return {"problem": f"{type(error).__name__}: {reason(error)}"}


def _recorded(store: Store, run_id: str) -> dict[str, Any]:
    """Read what an earlier start recorded of other seeds and replays."""
    try:
        found = store.artifact(store.run(run_id), VERDICT_FILE, mapping_file) or {}
    except DamagedError as error:
        log.warning("%s of an earlier start is damaged, and made again: %s", VERDICT_FILE, error)
        return {}
    return {name: found[name] for name, part in repetitions_of(found).items() if isinstance(part, Repetition)}


def _record(parent: TrackedRun, found: Mapping[str, Any]) -> None:
    """Put a verdict on the parent run."""
    parent.log_text(json.dumps(found, indent=1, allow_nan=False) + "\n", VERDICT_FILE)
    tags = {"verdict": found["word"], "verdict.headline": found["headline"], "verdict.inputs": found.get("inputs")}
    parent.set_tags({name: tag for name, tag in tags.items() if tag is not None})
    metrics = {
        f"verdict_{name.removeprefix('verdict_')}": number["value"]
        for name, number in found["numbers"].items()
        if number["value"] is not None
    }
    metrics |= {f"verdict_{name}": float(found[name]) for name in ("count", "tested") if name in found}
    for part in repetitions_of(found).values():
        metrics |= part.metrics if isinstance(part, Repetition) else {}
    parent.log_metrics(metrics)
    parent.flush()


def _lines(found: Mapping[str, Any]) -> list[str]:
    """Return what the terminal is told: the headline, the weightiest reasons, seeds and replays."""
    said = [f"Is the winner real? {found['headline']}", *found["reasons"][:2]]
    for name, part in repetitions_of(found).items():
        said.append(part.sentence if isinstance(part, Repetition) else f"{name.replace('_', ' ').capitalize()}: {part}")
    return [line for sentence in said for line in textwrap.wrap(sentence, WIDTH, subsequent_indent="  ")]
