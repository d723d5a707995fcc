"""The training report: one run from what it was to how to get it again, made of its record."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.evaluation.metrics.target import target_unit
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots.numbers import count, moment, significant
from tradingbot_exp.plots.panels import FeatureHistogram, histogram_figure, histograms_from
from tradingbot_exp.plots.predictions import prediction_distribution, prediction_vs_actual
from tradingbot_exp.plots.training import feature_importance
from tradingbot_exp.reporting.backtest.costs import cost_sentence, costs
from tradingbot_exp.reporting.backtest.equity import equity, rolling
from tradingbot_exp.reporting.backtest.months import months
from tradingbot_exp.reporting.backtest.numbers import backtest_of, cost_curve, rules_of
from tradingbot_exp.reporting.page.blocks import (
    OWN_KINDS,
    again_blocks,
    code_cell,
    ending_blocks,
    header_facts,
    made_line,
    number_cell,
    numbers_of,
    problem_notices,
    run_link,
)
from tradingbot_exp.reporting.page.configuration import configuration_blocks, data_blocks
from tradingbot_exp.reporting.page.metrics import judged
from tradingbot_exp.reporting.page.page import (
    Block,
    Cell,
    Code,
    Column,
    Details,
    Facts,
    Figure,
    Notice,
    Page,
    Paragraph,
    Section,
    Table,
)
from tradingbot_exp.reporting.training import skill
from tradingbot_exp.reporting.training.course import course_blocks
from tradingbot_exp.reporting.training.folds import fold_blocks, fold_table, folds_of, last_fold_notice
from tradingbot_exp.reporting.training.quality import headline_of, metrics_table, reading_of, rivals_of, tiles_of
from tradingbot_exp.reporting.training.years import years_table
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import RunRecord

KIND = "Training report"
_BASIS_POINTS = 1e4


def training_page(record: TrainingRecord) -> Page:
    """Build the report of a training run, or of a trial: whatever its status, and whatever is missing.

    Parameters
    ----------
    record : TrainingRecord
    """
    run = record.run
    sections = [
        Section("run", "What was run", _run_blocks(record)),
        Section("training", "How it went", course_blocks(run)),
        Section("quality", "How good it is", _quality_blocks(record)),
        Section("why", "Why", _why_blocks(record)),
        Section("again", "How to get it again", again_blocks(record.made)),
        Section("test", "Test set", _test_blocks(record)),
    ]
    return Page(run.name, KIND, header_facts(run), sections, made_line())


def _run_blocks(record: TrainingRecord) -> list[Block]:
    run = record.run
    blocks = [*ending_blocks(run, record.artifacts.traceback), *problem_notices(record.artifacts)]
    if not run.kind:
        blocks.append(
            Notice("Something else than tradingbot_exp logged this run: the report shows what is there.", "muted")
        )
    note = run.tags.get("mlflow.note.content")
    if note:
        blocks.append(Paragraph(note))
    facts = [("Model", Cell(_model(run))), ("Code", code_cell(record.made)), ("Run id", Cell(run.run_id))]
    if run.parent_id:
        facts.append(("Study", Cell(run.parent_id, href=run_link(run, run.parent_id))))
    user = {key: value for key, value in run.tags.items() if "." not in key and key not in ("engine", "error")}
    user.pop("periods_per_year", None)
    if user:
        facts.append(("Tags", Cell(", ".join(f"{key}: {value}" for key, value in user.items()))))
    blocks.append(Facts(facts))
    data = [*data_blocks(record.artifacts.card, run), *fold_blocks(record)]
    return [*blocks, *data, *configuration_blocks(record.made, record.previous)]


def _model(run: RunRecord) -> str:
    name, version = run.tags.get("model.name", "not recorded"), run.tags.get("model.version")
    return f"{name}, version {version}" if version else name


def _quality_blocks(record: TrainingRecord) -> list[Block]:
    run, table = record.run, record.artifacts.predictions
    metrics = run.metrics
    rules = rules_of(run, table)
    test = None if table is None else backtest_of(table, rules)
    bars = len(table) if table is not None else _card_bars(record)
    head = headline_of(metrics, rules, test, bars)
    blocks: list[Block] = []
    overlap = run.tags.get("test.overlap")
    if overlap:
        text = f"Train or validation dates of this run were a test set before: {overlap}. What was seen there may have "
        blocks.append(Notice(text + "guided this configuration, so its numbers are no longer out of sample."))
    tiles = tiles_of(head)
    if tiles.tiles:
        blocks += [tiles, Paragraph(reading_of(head))]
    if any(name.startswith("val_") and name != "val_loss" for name in metrics):
        rivals = rivals_of(metrics, table, test, rules.neutral, folds_of(record))
        blocks.append(metrics_table(metrics, rivals, rules))
    if (by_fold := fold_table(metrics)) is not None:
        blocks.append(by_fold)
    blocks += _undefined(run)
    if metrics:
        blocks.append(Details(f"All {count(len(metrics), 'recorded metric')}", [_all_metrics(metrics)]))
    else:
        blocks.append(Notice("No metrics are on record.", "muted"))
    if table is None or not {"actual", "forecast"} <= set(table):
        why = "A study keeps those of its best trial." if run.parent_id else "They are logged when a run finishes."
        return [*blocks, Notice(f"No forecasts are on record, so there is nothing more to draw. {why}", "muted")]
    blocks += _forecast_figures(record, rules)
    if test is None:
        return [*blocks, Notice("The forecasts come without one-bar returns, so there is no backtest.", "muted")]
    curve = cost_curve(test)
    drawn = (
        (
            equity(test),
            "Wealth after and before costs and by buy and hold; below, the fall from peak.",
        ),
        (
            rolling(test),
            "The Sharpe ratio over a rolling window, with the band that luck alone fills.",
        ),
        (months(test), "The net return of each month and year."),
        (
            costs(curve, rules.per),
            f"Sharpe ratio against cost; {cost_sentence(curve)}.",
        ),
    )
    by_year = years_table(table, test)
    return [*blocks, *(Figure(figure, text) for figure, text in drawn), *([] if by_year is None else [by_year])]


def _forecast_figures(record: TrainingRecord, rules: Rules) -> list[Block]:
    params, table = record.run.params, record.artifacts.predictions
    if table is None:
        return []
    source, target = params.get("data.source", "table"), params.get("data.target", "target")
    unit = target_unit(source, target, rules.horizon)
    dates = table["date"] if "date" in table else np.arange(len(table))
    actual, forecast = (numbers_of(table[name]) for name in ("actual", "forecast"))
    returns = source != "table" and target == "return"
    groups = skill.deciles(actual, forecast, rules.horizon)
    tenths = skill.decile_figure(groups, "basis points" if returns else unit, _BASIS_POINTS if returns else 1.0)
    over_time = prediction_vs_actual(dates, actual, forecast, unit)
    spread = prediction_distribution(actual, forecast, unit)
    for figure, height in ((over_time, 440), (spread, 440)):
        figure.update_layout(height=height)
    return [
        Figure(over_time, "Forecast and actual over time, and against each other."),
        Figure(spread, "How actual values and forecasts are spread, on one scale."),
        Figure(
            skill.rolling_ic_figure(skill.rolling_ic(dates, actual, forecast, rules.horizon, rules.periods)),
            "The correlation over a rolling window, with the band that luck alone fills.",
        ),
        Figure(tenths, "The mean actual value after the lowest to the highest tenth of forecasts."),
    ]


def _undefined(run: RunRecord) -> list[Block]:
    """Say of each metric without a value why."""
    prefix = "undefined."
    reasons = {name.removeprefix(prefix): why for name, why in run.tags.items() if name.startswith(prefix)}
    return [Notice(f"{name} is {why}.", "muted") for name, why in reasons.items()]


def _all_metrics(metrics: Mapping[str, float]) -> Table:
    rows = [[Cell(name), number_cell(value, significant)] for name, value in sorted(metrics.items())]
    return Table("Metrics as MLflow has them", [Column("metric"), Column("value", numeric=True)], rows)


def _card_bars(record: TrainingRecord) -> int:
    """Give the number of validation rows by the data card; 0 if it does not say."""
    try:
        card = record.artifacts.card or {}
        return sum(int(part["val"]["rows"]) for part in card.get("folds") or [card["split"]])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def _why_blocks(record: TrainingRecord) -> list[Block]:
    importance, histograms = record.artifacts.importance, record.artifacts.histograms
    blocks = last_fold_notice(folds_of(record))
    if importance is None or not {"feature", "mean", "std"} <= set(importance):
        blocks.append(Notice("The importance of the features is not on record.", "muted"))
    else:
        names = [str(name) for name in importance["feature"]]
        mean, std = (numbers_of(importance[name]) for name in ("mean", "std"))
        figure = feature_importance(names, mean, std)
        if figure.layout.height is None:
            figure.update_layout(height=400)
        blocks.append(Figure(figure, _importance_words(names, mean, std)))
    found = _histograms(histograms)
    if found is None:
        blocks.append(Notice("The distributions of the features are not on record.", "muted"))
    else:
        far = max((each for each in found if math.isfinite(each.ks)), key=lambda each: each.ks, default=None)
        words = f" The furthest apart is {far.name}, by {far.ks:.2f}." if far else ""
        blocks.append(Figure(histogram_figure(found), f"Each feature in train and in validation.{words}"))
    return blocks


def _histograms(record: object) -> list[FeatureHistogram] | None:
    """Read the histograms; None if they are not there, or are of another form."""
    try:
        return histograms_from(record) if isinstance(record, list) else None
    except (KeyError, TypeError, ValueError):
        return None


def _importance_words(names: list[str], mean: NDArray[np.float64], std: NDArray[np.float64]) -> str:
    """Name the features that matter by more than two standard deviations of the shuffles."""
    order = [int(i) for i in np.argsort(-mean, kind="stable") if np.isfinite(mean[i])]
    sure = [names[i] for i in order if mean[i] > 2 * np.nan_to_num(std[i])]
    if not sure:
        return "No feature makes the forecast clearly worse when it is shuffled: the model leans on none of them."
    more = f" and {len(sure) - 3} more" if len(sure) > 3 else ""
    return f"Shuffling these makes the forecast clearly worse, the first the most: {', '.join(sure[:3])}{more}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _seen_before(record: TrainingRecord) -> list[Block]:
    """Say what was seen already: test bars for other runs, and bars of train and validation as a test set."""
    blocks: list[Block] = []
    others, overlap = record.others_opened, record.made.tag("test.overlap")
    if others:
        runs = list(dict.fromkeys(each.evaluated for each in others))
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        text = f"Bars of this test set were opened {_times(len(others))} for other runs ({', '.join(runs[:3])}{more}), "
        text += f"last on {others[-1].at[:16]} by {others[-1].by}. "
        blocks.append(Notice(text + "What was decided after it, this run included, is not out of sample there."))
    if overlap:
        blocks.append(Notice(f"Train or validation bars of this run were a test set before: {overlap}."))
    return blocks


def _test_blocks(record: TrainingRecord) -> list[Block]:
    openings, others, run = record.openings, record.others_opened, record.run
    evaluated = run.tags.get("evaluated.run_id")
    if evaluated or run.kind == "test_evaluation":
        evaluated = evaluated or "an unknown one"
        return [Paragraph(f"This run is itself an opening of the test set, for the run {evaluated}.")]
    if run.kind not in OWN_KINDS:
        return [Notice("Whether the numbers of this run have seen test bars is not on record.", "muted")]
    blocks = _seen_before(record)
    if not openings:
        text = "Not opened for this run. "
        if others is None:
            text += "Its data or its dates are not on record: whether the same bars were opened for others is unknown. "
        elif not blocks:
            text = "Sealed, never opened: no number of this report has seen a test bar, as far as this store knows. "
        if run.status != "FINISHED" or record.artifacts.predictions is None:  # no model that could be asked
            return [*blocks, Paragraph(text.strip())]
        command = f"python -m tradingbot_exp evaluate {run.run_id}"
        return [*blocks, Paragraph(text + "Opening it is counted."), Code(command, "To open it")]
    blocks.append(Paragraph(f"Opened {_times(len(openings))}."))
    if len(openings) > 1:
        blocks.append(
            Notice("Only the first opening is out of sample: what was decided after it has seen the test set.")
        )
    names = dict.fromkeys(name for opening in openings for name in opening.metrics if name.startswith("test_"))
    order = {f"test_{name}": place for place, name in enumerate(judged())}
    rows = []
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), name)):
        kind = judged(record.run.params).get(name.removeprefix("test_"))
        form = kind.text if kind else significant
        cells = [number_cell(record.run.metrics.get(name.replace("test_", "val_", 1)), form)]
        cells += [number_cell(opening.metrics.get(name), form) for opening in openings]
        rows.append([Cell(kind.label if kind else name), *cells])
    columns = [Column("metric"), Column("validation", numeric=True)]
    columns += [Column(f"test, {moment(opening.started)}", numeric=True) for opening in openings]
    return [*blocks, Table("What the test set said, beside validation", columns, rows)]
