"""The study report's section on whether the winner is real: the verdict, its reasons, its numbers and their figures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tradingbot_exp.evaluation.significance.luck import rounded_bars
from tradingbot_exp.evaluation.significance.robustness_words import replays_in_words, seeds_in_words
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
    seeds, replays = verdict.get("seeds"), verdict.get("null_replays")
    for part, words, what in (
        (seeds, seeds_in_words, "trained again with other seeds"),
        (replays, replays_in_words, "compared with searches on permuted targets"),
    ):
        if part and "problem" in part:
            blocks.append(Notice(f"The winner could not be {what}: {part['problem']}"))
        elif part:
            blocks.append(Paragraph(_minus(words(part))))
    return [*blocks, *_figures(verdict, seeds, replays)]


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
        tiles += _beside("Sharpe ratio of its alpha", numbers, "alpha_sharpe", "needed_sharpe", 2)
    else:
        tiles += _beside("Information coefficient", numbers, "ic", "needed_ic", 3)
    if "bars" in verdict:
        needed = numbers.get("needed_bars")
        context = ""
        if needed is not None and needed > verdict["bars"]:
            context = f"some {rounded_bars(needed)} would tell it from luck"
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


def _beside(label: str, numbers: Mapping[str, Any], name: str, needed: str, digits: int) -> list[Tile]:
    if numbers.get(name) is None:
        return []
    wanted = numbers.get(needed)
    context = "" if wanted is None else f"about {ratio(wanted, 2)} would be needed"
    return [Tile(label, ratio(numbers[name], digits, signed=True), context)]


def _table(verdict: Mapping[str, Any]) -> Table:
    rows = []
    for name, label, kind, meaning in _ROWS:
        number = verdict["numbers"].get(name, {})
        value, problem = number.get("value"), number.get("problem")
        text = _text(value, kind)
        rows.append([Cell(label), Cell(text, tone="plain" if value is not None else "muted"), Cell(problem or meaning)])
    seeds, replays = verdict.get("seeds") or {}, verdict.get("null_replays") or {}
    if seeds.get("mean") is not None:
        spread = f" ± {significant(seeds['std'], 2)}" if seeds.get("std") is not None else ""
        label = f"{seeds['metric']} over {count(len(seeds['values']), 'other seed')}"
        rows.append([Cell(label), Cell(f"{significant(seeds['mean'])}{spread}"), Cell("Mean and standard deviation.")])
    if "p" in replays:
        label = f"p-value of {count(len(replays['values']), 'replay')}"
        rows.append(
            [Cell(label), Cell(_p(replays["p"])), Cell("Searches on permuted targets that found as good a value.")]
        )
    return Table("What the verdict is said from", [Column("number"), Column("value", True), Column("what it is")], rows)


def _text(value: float | None, kind: str) -> str:
    if value is None:
        return MISSING
    if kind == "p":
        return _p(value)
    if kind in ("percent", "gain"):
        return percent(value, 0 if kind == "percent" else 1)
    if kind == "fine":
        return ratio(value, 3)
    if kind == "one":
        return ratio(value, 1)
    return f"{value:,.0f}" if kind == "bars" else ratio(value)


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else ratio(value, 3 if value < 0.1 else 2)
