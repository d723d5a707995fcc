"""Metrics side by side: what each is called, whether high or low is better, and which run has the best.

The best is marked only among runs whose metric describes the same thing as the reference's: the same data and
bars, and what else the metric depends on, such as the costs of a Sharpe ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tradingbot_exp.config.losses import loss_title
from tradingbot_exp.config.metrics import TABLE, TRAIN_METRICS, Form
from tradingbot_exp.config.metrics import Metric as Row
from tradingbot_exp.config.positions import JUDGED_BY, POSITIONS, RULE_KEYS
from tradingbot_exp.evaluation.metrics.target import naive_name
from tradingbot_exp.plots.numbers import percent, ratio, significant
from tradingbot_exp.runtime.text import day
from tradingbot_exp.tracking.reading.records import TrainingRecord

_SCHEME = ("evaluation.scheme", "evaluation.folds")
_TARGET = ("data.target", "data.horizon", *_SCHEME)
_LOSS = ("training.loss", *_TARGET)

RULES = (*(f"evaluation.{name}" for name in JUDGED_BY), "evaluation.periods_per_year")
"""Params that a Sharpe ratio depends on, beside the forecasts."""

# How the runs were evaluated that have no such params.
_FORMERLY = {"scheme": "chronological", "position": "sign", "borrow_bps": "0.0"}

SPLIT = ("data.split.", "data.horizon")


@dataclass(frozen=True)
class Metric:
    """A kind of metric."""

    label: str
    better: int = 0  # 1 if a high value is better, −1 if a low one is
    text: Callable[[float | None], str] = significant  # how a value is shown
    needs: tuple[str, ...] = ()  # params that two runs must share to be compared by it, beside the data
    hint: str = ""


_TEXTS: dict[Form, Callable[[float | None], str]] = {
    "error": significant,
    "share": partial(percent, digits=2),
    "correlation": partial(ratio, digits=3),
    "percent": percent,
    "ratio": ratio,
}


def _shown(row: Row) -> Metric:
    needs = _TARGET if row.family == "forecast" else (*RULES, *_SCHEME)
    return Metric(row.label, row.better, _TEXTS[row.form], needs, row.hint)


def _of_train(label: str) -> str:
    plain, net, _ = label.partition(" against ")[0].partition(", net")
    return f"{plain} on the train rows{net}"


JUDGED: dict[str, Metric] = {name: _shown(row) for name, row in TABLE.items()}
"""Of validation and test, by name without ``val_`` or ``test_``; in the order of the table."""


def judged(*params: Mapping[str, str]) -> dict[str, Metric]:
    """Return `JUDGED` as called in runs of such params: what takes no side is 0, or a coin flip for directions."""
    naive = " or ".join(dict.fromkeys(naive_name(each) for each in params or ({},)))
    return JUDGED | {"zero_mse": replace(JUDGED["zero_mse"], label=f"MSE of the {naive}")}


TRAINING = {
    "final_loss": Metric("final validation loss", -1, significant, _LOSS),
    "best_val_loss": Metric("best validation loss", -1, significant, _LOSS),
    "best_epoch": Metric("best epoch"),
    **{
        f"train_{name}": replace(JUDGED[name], label=_of_train(TABLE[name].label), better=0, hint="")
        for name in TRAIN_METRICS
    },
}
"""Of the training, by name; in the order of the table."""
# What curves show, and the table need not repeat.
_CURVES = ("train_loss", "val_loss", "learning_rate")


@dataclass(frozen=True)
class MetricRow:
    """One metric of all runs."""

    name: str  # as MLflow has it
    metric: Metric
    part: str  # ``validation``, ``training``, ``test`` or ``other``
    values: tuple[float | None, ...]  # one a run; None if it does not have it
    comparable: tuple[bool, ...]  # whether a run's value describes the same thing as the reference's
    best: tuple[int, ...]  # places of the runs with the best comparable value; empty where none is better


def metric_rows(records: Sequence[TrainingRecord]) -> list[MetricRow]:
    """Lay out every metric that any run has: validation, training, test, then those that are not known here.

    Of the test set nothing is marked as best: to choose by it would make a validation set of it.
    """
    metrics = []
    for record in records:  # of the test set those of its first evaluation, the only one out of sample
        opened = record.openings[0].metrics if record.openings else {}
        tested = {name: value for name, value in opened.items() if name.startswith("test_")}
        metrics.append({**record.run.metrics, **tested})
    names = dict.fromkeys(name for each in metrics for name in each)
    kinds = judged(*(record.run.params for record in records))
    known = [(f"val_{name}", metric, "validation") for name, metric in kinds.items()]
    known += [(name, metric, "training") for name, metric in TRAINING.items()]
    known += [(f"test_{name}", replace(metric, better=0), "test") for name, metric in kinds.items()]
    named = {name for name, *_ in known}
    others = sorted(
        name for name in names if name not in named and name not in _CURVES and not name.startswith("fold_")
    )
    wanted = [each for each in known if each[0] in names] + [(name, Metric(name), "other") for name in others]
    decided = [read_params(record.run.params) for record in records]
    rows = []
    for name, metric, part in wanted:
        values = tuple(each.get(name) for each in metrics)
        same = _same_test if part == "test" else same_bars
        rules = [[params.get(key) for key in metric.needs] for params in decided]
        alike = zip(records, rules, strict=True)
        comparable = tuple(same(records[0], record) and judged_by == rules[0] for record, judged_by in alike)
        rows.append(MetricRow(name, metric, part, values, comparable, best(values, comparable, metric.better)))
    return rows


def best(values: Sequence[float | None], comparable: Sequence[bool], better: int) -> tuple[int, ...]:
    """Find the best of the comparable finite values.

    Returns
    -------
    tuple of int
        All that tie for it; none if neither direction is better, if there are not two values, or if all are equal.
    """
    pairs = zip(values, comparable, strict=True)
    found = {i: v for i, (v, same) in enumerate(pairs) if same and v is not None and math.isfinite(v)}
    if not better or len(set(found.values())) < 2:
        return ()
    top = max(found.values(), key=lambda value: better * value)
    return tuple(i for i, value in found.items() if value == top)


def _same_test(first: TrainingRecord, second: TrainingRecord) -> bool:
    """Tell whether the test sets of two runs were the same bars of the same data; not where that is not known."""
    spans = [_opened_span(record) for record in (first, second)]
    same = None not in spans and spans[0] == spans[1] and first.fingerprint == second.fingerprint
    return first is second or same


def _opened_span(record: TrainingRecord) -> tuple[str, str] | None:
    tags = (record.openings[0] if record.openings else record.run).tags
    start, end = tags.get("opened.start"), tags.get("opened.end")
    return (start, end) if start and end else None


def read_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return params as they count: what older runs do not name has its default, what nothing reads is left out.

    A loss is of its own number, if it has one.
    """
    known = {**{f"evaluation.{name}": each for name, each in _FORMERLY.items()}, **params}
    unread = {"evaluation.folds"} if known["evaluation.scheme"] == "chronological" else set()
    rule = POSITIONS.get(known["evaluation.position"])
    if rule is not None:
        unread |= {f"evaluation.{name}" for name in RULE_KEYS if name not in rule.reads}
    titles = {"training.loss": loss_title(params)} if "training.loss" in params else {}
    return {key: value for key, value in known.items() if key not in unread} | titles


def same_bars(first: TrainingRecord, second: TrainingRecord) -> bool:
    """Tell whether two runs were validated on the same bars of the same data, as far as is known.

    Where one of them has no dates on record, as most trials, the way in which data are split has to be the same.
    """
    if first.fingerprint != second.fingerprint:
        return False
    dates = validation_dates(first), validation_dates(second)
    if None in (*dates[0], *dates[1]):
        splits = [
            {key: value for key, value in each.run.params.items() if key.startswith(SPLIT)} for each in (first, second)
        ]
        return splits[0] == splits[1]
    return dates[0] == dates[1]


def validation_dates(record: TrainingRecord) -> tuple[str | None, str | None]:
    """Return the first and the last validation bar: of the forecasts if they are there, else of the data card."""
    table = record.artifacts.predictions
    if table is not None and len(table) and "date" in table:
        return day_of(table["date"].iloc[0]), day_of(table["date"].iloc[-1])
    split = (record.artifacts.card or {}).get("split")
    block = (split.get("val") if isinstance(split, Mapping) else None) or {}
    return day_of(block.get("start")), day_of(block.get("end"))


def day_of(when: object) -> str | None:
    """Return the date of a bar as text; None where there is none."""
    return None if when is None else day(when)
