"""The study report's section on whether the winner is real: the verdict, its reasons, its numbers and their figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.selection_bias import rounded_bars
from tradingbot_exp.evaluation.significance.statistic import Form, Number
from tradingbot_exp.evaluation.significance.verdict import REPETITIONS, STATISTICS, repetitions_of
from tradingbot_exp.plots.numbers import MISSING, count, percent, ratio, significant
from tradingbot_exp.reporting.page.page import (
    Block,
    Cell,
    Column,
    Details,
    Figure,
    Notice,
    Paragraph,
    Table,
    Tile,
    Tiles,
    Tone,
)
from tradingbot_exp.reporting.study import verdict_figures as figures
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.tracking.reading.records import StudyRecord

_TONES: dict[str, Tone] = {"real": "good", "not shown": "warning", "cannot be told": "muted"}
_INPUTS: dict[str, tuple[Tone, str]] = {
    "checked": ("plain", "no feature knows its future"),
    "not checked": ("warning", "nobody can see whether they know their future"),
    "leaks": ("bad", "a column looks too good to be true"),
}


def verdict_blocks(study: Study, record: StudyRecord) -> list[Block]:
    """Tell whether the winner is real; of a study without a verdict, why there is none."""
    verdict = record.verdict
    if study.run.kind == "null_study" or not study.trials:
        return []
    if not verdict:
        return [Notice(_without(study), "muted")]
    blocks: list[Block] = [Paragraph(headline_of(verdict)), Tiles(_tiles(verdict, record))]
    why: list[Block] = [Paragraph(_minus(reason)) for reason in verdict.get("reasons", ())]
    if verdict.get("numbers"):
        why.append(_table(verdict))
    if why:
        blocks.append(Details("Why, and the numbers that it is said from", why))
    for name, part in repetitions_of(verdict).items():
        if isinstance(part, Repetition):
            blocks.append(Paragraph(_minus(part.sentence)))
        else:
            blocks.append(Notice(f"The winner could not be {REPETITIONS[name].DEED}: {part}"))
    return [*blocks, *_figures(verdict, verdict.get("seeds"), verdict.get("null_replays"))]


def headline_of(verdict: Mapping[str, Any]) -> str:
    """Give a verdict in one sentence."""
    return _minus(verdict.get("headline", ""))


def word_tile(verdict: Mapping[str, Any]) -> Tile:
    """Give a verdict in one word, with the trial that it is about."""
    word = str(verdict.get("word", ""))
    tone = _TONES.get(word, "plain")
    if word == "real" and (verdict.get("inputs") == "not checked" or verdict.get("seen")):
        word = "real, on dates seen before" if verdict.get("seen") else "real, if its inputs are honest"
        tone = "warning"
    trial = f"trial {verdict['winner']}, by its {verdict['metric']}" if "winner" in verdict else ""
    return Tile("Is the winner real?", word, trial, tone)


def _figures(
    verdict: Mapping[str, Any], seeds: Mapping[str, Any] | None, replays: Mapping[str, Any] | None
) -> list[Block]:
    blocks: list[Block] = []
    numbers = {name: each.get("value") for name, each in verdict.get("numbers", {}).items()}
    forecasts = verdict.get("family") == "forecast"
    value = numbers.get("ic" if forecasts else "alpha_sharpe")
    free = verdict.get("bars", 0) / verdict.get("horizon", 1) - 1 if forecasts else verdict.get("bars", 0) - 1
    if value is not None and free > 1:
        year = 1.0 if forecasts else math.sqrt(verdict["periods_per_year"])
        name = "Information coefficient" if forecasts else "Sharpe ratio of alpha (a year)"
        text = (
            f"{name.partition(' (')[0]} of the winner, {ratio(value, 3 if forecasts else 2)}, among those of the best "
        )
        text += f"of {count(verdict['count'], 'noise trial')}."
        blocks.append(Figure(figures.noise(value, year / math.sqrt(free), verdict["count"], name=name), text))
    if verdict.get("pbo_logits"):
        text = "How the best on one half of the bars ranks on the other half: left of 0 it is in the lower half, in "
        text += f"{percent(numbers.get('pbo'), 0)} of the splits."
        blocks.append(Figure(figures.logits(verdict["pbo_logits"], numbers.get("pbo")), text))
    if seeds and seeds.get("values"):
        text = f"The winner's {seeds['metric']} with each of {count(len(seeds['values']), 'other seed')}, and the "
        text += f"{significant(seeds['chosen'])} that it has in the study."
        blocks.append(Figure(figures.spread(seeds), text))
    if replays and len(replays.get("values", ())) > 1:
        text = (
            f"What {count(len(replays['values']), 'search', 'searches')} on permuted targets found, and the winner's "
        )
        text += f"{significant(replays['chosen'])}."
        blocks.append(Figure(figures.replays(replays), text))
    return blocks


def _minus(text: object) -> str:
    """Give numbers below zero a true minus sign, as all others of the report have."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", str(text))


def _without(study: Study) -> str:
    if study.run.kind == "sweep":
        return "A plain sweep is not judged: let a study search, with python -m tradingbot_exp.train --multirun."
    if study.run.status == "RUNNING":
        return "The study is judged at its end."
    return "The study was not judged: it did not come to its end, or was made by an earlier version."


def _tiles(verdict: Mapping[str, Any], record: StudyRecord) -> list[Tile]:
    numbers = {name: each.get("value") for name, each in verdict.get("numbers", {}).items()}
    tiles = [word_tile(verdict)]
    if numbers.get("verdict_p") is not None:
        tiles.append(Tile("Its p-value", _p(numbers["verdict_p"]), "real is below 0.025"))
    if verdict.get("family") == "return":
        tiles += _beside("Sharpe ratio of its alpha", verdict, "alpha_sharpe", "needed_sharpe", 2)
    else:
        tiles += _beside("Information coefficient", verdict, "ic", "needed_ic", 3)
    if "bars" in verdict:
        needed = numbers.get("needed_bars")
        context = ""
        if needed is not None and needed > verdict["bars"] and verdict.get("word") != "real":
            context = f"some {rounded_bars(needed)} would be needed"
        tiles.append(Tile("Validation bars", f"{verdict['bars']:,}", context))
    if "tried" in verdict:
        ever = max(verdict.get("ever") or 0, verdict["tried"])
        context = f"{verdict['tried']:,} in this study, {verdict['tested']:,} of them tested"
        tiles.append(Tile("Configurations tried", f"{ever:,}", context))
    if "inputs" in verdict:
        tone, context = _INPUTS.get(verdict["inputs"], ("plain", ""))
        tiles.append(Tile("Its inputs", str(verdict["inputs"]), context, tone))
    opened = len(record.openings)
    if not opened:
        return [*tiles, Tile("Its test set", "sealed", "not opened for this run")]
    text = f"opened {'once' if opened == 1 else f'{opened:,} times'}"
    last = record.openings[-1].tags.get("opened.at", "")[:10]
    return [
        *tiles,
        Tile("Its test set", text, f"last on {last}" if last else "", "plain" if opened == 1 else "warning"),
    ]


def _beside(label: str, verdict: Mapping[str, Any], name: str, needed: str, digits: int) -> list[Tile]:
    value, wanted = (verdict.get("numbers", {}).get(each, {}).get("value") for each in (name, needed))
    if value is None:
        return []
    context = "" if wanted is None else f"about {ratio(wanted, 2)} would be needed"
    contradicts = {"real": -1, "not shown": 1}.get(str(verdict.get("word")), 0)
    if wanted is not None and contradicts * (value - wanted) > 0:  # the first reason says why
        context += ", if bars and trials were independent"
    return [Tile(label, ratio(value, digits, signed=True), context)]


def _table(verdict: Mapping[str, Any]) -> Table:
    rows = []
    for name, shown in [row for statistic in STATISTICS for row in statistic.SHOWN.items()]:
        number = verdict["numbers"].get(name, {})
        rows.append(_row(shown, number.get("value"), problem=number.get("problem")))
    for part in repetitions_of(verdict).values():
        if isinstance(part, Repetition) and part.row is not None:
            rows.append(_row(*part.row))
    return Table("What the verdict is said from", [Column("number"), Column("value", True), Column("what it is")], rows)


def _row(shown: Number, value: float | None, spread: float | None = None, problem: str | None = None) -> list[Cell]:
    text = MISSING if value is None else _FORMS[shown.form](value)
    text += f" ± {significant(spread, 2)}" if spread is not None else ""
    return [
        Cell(shown.label),
        Cell(text, tone="plain" if value is not None else "muted"),
        Cell(problem or shown.meaning),
    ]


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else ratio(value, 3 if value < 0.1 else 2)


_FORMS: dict[Form, Callable[[float], str]] = {
    "p": _p,
    "correlation": lambda value: ratio(value, 3),
    "ratio": ratio,
    "percent": lambda value: percent(value, 0),
    "gain": percent,
    "trials": lambda value: ratio(value, 1),
    "bars": lambda value: f"{value:,.0f}",
    "value": significant,
}
