"""The study report's section on whether the winner is real: the verdict, its reasons and its numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.selection_bias import rounded_bars
from tradingbot_exp.evaluation.significance.statistic import Form, Number
from tradingbot_exp.evaluation.significance.verdict import STATISTICS, repetitions_of
from tradingbot_exp.plots.numbers import percent, ratio, significant
from tradingbot_exp.reporting.page.blocks import text_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Notice, Paragraph, Table, Tile, Tiles, Tone
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.runtime.text import times
from tradingbot_exp.tracking.reading.run_record import RunRecord

_TONES: dict[str, Tone] = {"real": "good", "not shown": "warning", "cannot be told": "muted"}
_INPUTS: dict[str, tuple[Tone, str]] = {
    "checked": ("plain", "no feature knows its future"),
    "not checked": ("warning", "nobody can see whether they know their future"),
    "leaks": ("bad", "a column looks too good to be true"),
}


def verdict_blocks(study: Study) -> list[Block]:
    """Tell whether the winner is real; of a study without a verdict, why there is none."""
    verdict = study.record.verdict
    if study.run.kind == "null_study" or not study.trials:
        return []
    if not verdict:
        return [Notice(_without(study), "muted")]
    blocks: list[Block] = [Paragraph(headline_of(verdict)), Tiles(_tiles(verdict, study.record.openings))]
    why: list[Block] = [Paragraph(true_minus(reason)) for reason in verdict.get("reasons", ())]
    if verdict.get("numbers"):
        why.append(_table(verdict))
    if why:
        blocks.append(Details("Why, and the numbers that it is said from", why))
    return blocks


def headline_of(verdict: Mapping[str, Any]) -> str:
    """Return a verdict in one sentence."""
    return true_minus(verdict.get("headline", ""))


def word_tile(verdict: Mapping[str, Any]) -> Tile:
    """Show a verdict in one word, with the trial that it is about."""
    word = str(verdict.get("word", ""))
    tone = _TONES.get(word, "plain")
    if word == "real" and (verdict.get("inputs") == "not checked" or verdict.get("seen")):
        word = "real, on dates seen before" if verdict.get("seen") else "real, if its inputs are honest"
        tone = "warning"
    trial = f"trial {verdict['winner']}, by its {verdict['metric']}" if "winner" in verdict else ""
    return Tile("Is the winner real?", word, trial, tone)


def true_minus(text: object) -> str:
    """Give numbers below zero a true minus sign, as all others of the report have."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", str(text))


def numbers_in(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a verdict's numbers; None where there is none."""
    return {name: each.get("value") for name, each in verdict.get("numbers", {}).items()}


def _without(study: Study) -> str:
    if study.run.kind == "sweep":
        return "A plain sweep is not judged: let a study search, with python -m tradingbot_exp.train --multirun."
    if study.run.status == "RUNNING":
        return "The study is judged at its end."
    return "The study was not judged: it did not come to its end, or was made by an earlier version."


def _tiles(verdict: Mapping[str, Any], openings: Sequence[RunRecord]) -> list[Tile]:
    numbers = numbers_in(verdict)
    tiles = [word_tile(verdict)]
    if numbers.get("verdict_p") is not None:
        tiles.append(Tile("Its p-value", _p(numbers["verdict_p"]), "real is below 0.025"))
    label, name, needed, digits = ("Information coefficient", "ic", "needed_ic", 3)
    if verdict.get("family") == "return":
        label, name, needed, digits = ("Sharpe ratio of its alpha", "alpha_sharpe", "needed_sharpe", 2)
    if numbers.get(name) is not None:
        wanted = numbers.get(needed)
        context = "" if wanted is None else f"about {ratio(wanted, 2)} would be needed"
        contradicts = {"real": -1, "not shown": 1}.get(str(verdict.get("word")), 0)
        if wanted is not None and contradicts * (numbers[name] - wanted) > 0:  # the first reason says why
            context += ", if bars and trials were independent"
        tiles.append(Tile(label, ratio(numbers[name], digits, signed=True), context))
    if "bars" in verdict:
        bars = numbers.get("needed_bars") or 0.0
        more = bars > verdict["bars"] and verdict.get("word") != "real"
        context = f"some {rounded_bars(bars)} would be needed" if more else ""
        tiles.append(Tile("Validation bars", f"{verdict['bars']:,}", context))
    if "tried" in verdict:
        ever = max(verdict.get("ever") or 0, verdict["tried"])
        context = f"{verdict['tried']:,} in this study, {verdict['tested']:,} of them tested"
        tiles.append(Tile("Configurations tried", f"{ever:,}", context))
    if "inputs" in verdict:
        tone, context = _INPUTS.get(verdict["inputs"], ("plain", ""))
        tiles.append(Tile("Its inputs", str(verdict["inputs"]), context, tone))
    if not openings:
        return [*tiles, Tile("Its test set", "sealed", "not opened for this run")]
    last = openings[-1].tags.get("opened.at", "")[:10]
    tone = "plain" if len(openings) == 1 else "warning"
    return [*tiles, Tile("Its test set", f"opened {times(len(openings))}", f"last on {last}" if last else "", tone)]


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
    text = None if value is None else _FORMS[shown.form](value)
    text = f"{text} ± {significant(spread, 2)}" if spread is not None else text
    return [Cell(shown.label), text_cell(text), Cell(problem or shown.meaning)]


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
