"""The study report's section on whether the winner is real: the verdict, its reasons and its numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tradingbot_exp.evaluation.significance.luck import rounded_bars
from tradingbot_exp.plots.numbers import count, percent, ratio, significant
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
_ROWS = (
    ("verdict_p", "p-value of the winner", "p", "Corrected for every configuration tried; real is below 0.025."),
    (
        "spa_p",
        "SPA p-value",
        "p",
        "Hansen (2005): chance that the best of the tested trials looks so good without skill.",
    ),
    ("ic", "Information coefficient", "fine", "Correlation of forecast and outcome, the mean over folds."),
    ("needed_ic", "… that would be needed", "fine", "For the best of so many trials to be told from luck."),
    (
        "needed_bars",
        "Bars that would be needed",
        "bars",
        "For the winner to be told from luck, if it went on like this.",
    ),
    ("gain_on_neutral", "Squared error below no side", "gain", "Above 0 where it is nearer than taking no side."),
    ("gain_on_mean", "… below the train mean", "gain", "Above 0 where it is nearer than the mean of earlier targets."),
    ("scale", "Scale", "ratio", "Times this its forecasts would come nearest; 1 is well scaled."),
    ("alpha", "Alpha", "gain", "A year, after costs: what is left without its share of the market."),
    ("beta", "Beta", "ratio", "Its share of the market: the slope of its returns on those of buy and hold."),
    ("lead", "Return over buy and hold", "gain", "A year, after costs."),
    ("alpha_sharpe", "Sharpe ratio of its alpha", "ratio", "A year's."),
    ("noise_sharpe", "… best of as many noise trials", "ratio", "What luck alone reaches on average."),
    ("noise_sharpe_high", "… in one search of 20", "ratio", "What luck alone stays below in 95 % of searches."),
    ("needed_sharpe", "… that would be needed", "ratio", "For the best of so many trials to be told from luck."),
    (
        "psr",
        "Probabilistic Sharpe ratio",
        "ratio",
        "Probability that the Sharpe ratio is above 0, had there been one trial.",
    ),
    (
        "dsr",
        "Deflated Sharpe ratio",
        "ratio",
        "Probability that it is above the luck of the best; at least 0.95 is asked for.",
    ),
    ("dsr_effective", "… of the effective number", "ratio", "The same, if trials that are alike count as fewer."),
    ("effective_trials", "Effective number of trials", "one", "As how many independent ones they count."),
    (
        "pbo",
        "Probability of backtest overfitting",
        "percent",
        "How often the best on half of the bars is below the median on the rest.",
    ),
    ("min_track_bars", "Minimum track record", "bars", "Bars that a single trial would need at this Sharpe ratio."),
)


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
        tiles.append(Tile(label, ratio(numbers[name], digits, signed=True), context))
    if "bars" in verdict:
        bars = numbers.get("needed_bars") or 0.0
        context = f"some {rounded_bars(bars)} would tell it from luck" if bars > verdict["bars"] else ""
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
    for name, label, kind, meaning in _ROWS:
        number = verdict["numbers"].get(name, {})
        value = number.get("value")
        shown = text_cell(None if value is None else _FORMS[kind](value))
        rows.append([Cell(label), shown, Cell(number.get("problem") or meaning)])
    seeds, replays = verdict.get("seeds") or {}, verdict.get("null_replays") or {}
    if seeds.get("mean") is not None:
        spread = f" ± {significant(seeds['std'], 2)}" if seeds.get("std") is not None else ""
        label = f"{seeds['metric']} over {count(len(seeds['values']), 'other seed')}"
        rows.append([Cell(label), Cell(f"{significant(seeds['mean'])}{spread}"), Cell("Mean and standard deviation.")])
    if "p" in replays:
        label = f"p-value of {count(len(replays['values']), 'replay')}"
        text = "Searches on permuted targets that found as good a value."
        rows.append([Cell(label), Cell(_p(replays["p"])), Cell(text)])
    return Table("What the verdict is said from", [Column("number"), Column("value", True), Column("what it is")], rows)


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else ratio(value, 3 if value < 0.1 else 2)


_FORMS: dict[str, Callable[[float], str]] = {
    "p": _p,
    "percent": partial(percent, digits=0),
    "gain": percent,
    "fine": partial(ratio, digits=3),
    "one": partial(ratio, digits=1),
    "bars": "{:,.0f}".format,
    "ratio": ratio,
}
