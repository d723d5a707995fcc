"""The study report's section on whether the winner is real: the verdict, its reasons, its numbers and their figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tradingbot_exp.evaluation.significance.robustness_words import replays_in_words, seeds_in_words
from tradingbot_exp.plots.numbers import MISSING, count, percent, ratio, significant
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Figure, Notice, Paragraph, Table, Tile, Tiles, Tone
from tradingbot_exp.reporting.study import verdict_figures as figures
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.tracking.reading.records import StudyRecord

_TONES: dict[str, Tone] = {"real": "good", "not shown": "warning", "cannot be told": "muted"}
_ROWS = (
    ("verdict_p", "p-value of the winner", "p", "Corrected for every configuration tried; real is below 0.025."),
    (
        "spa_p",
        "SPA p-value",
        "p",
        "Hansen (2005): chance that the best of the tested trials looks so good without skill.",
    ),
    ("excess_sharpe", "Sharpe ratio over buy and hold", "ratio", "The winner's, a year, of its returns in excess."),
    ("noise_sharpe", "… best of as many noise trials", "ratio", "What luck alone reaches on average."),
    ("noise_sharpe_high", "… in one search of 20", "ratio", "What luck alone stays below in 95 % of searches."),
    ("needed_sharpe", "… that would be needed", "ratio", "For a deflated Sharpe ratio of 0.95."),
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
    blocks: list[Block] = [
        Tiles(_tiles(verdict, record)),
        Paragraph(_minus(verdict.get("headline", ""))),
        *(Paragraph(_minus(reason)) for reason in verdict.get("reasons", ())),
    ]
    seeds, replays = verdict.get("seeds"), verdict.get("null_replays")
    for part, words, what in (
        (seeds, seeds_in_words, "trained again with other seeds"),
        (replays, replays_in_words, "compared with searches on permuted targets"),
    ):
        if part and "problem" in part:
            blocks.append(Notice(f"The winner could not be {what}: {part['problem']}"))
        elif part:
            blocks.append(Paragraph(_minus(words(part))))
    if verdict.get("numbers"):
        blocks.append(_table(verdict))
    return [*blocks, *_figures(verdict, seeds, replays)]


def _figures(
    verdict: Mapping[str, Any], seeds: Mapping[str, Any] | None, replays: Mapping[str, Any] | None
) -> list[Block]:
    blocks: list[Block] = []
    numbers = {name: each.get("value") for name, each in verdict.get("numbers", {}).items()}
    sharpe, noise = numbers.get("excess_sharpe"), numbers.get("noise_sharpe")
    if sharpe is not None and noise is not None and verdict.get("bars", 0) > 2:
        text = f"The winner's Sharpe ratio over buy and hold, {ratio(sharpe)}, and the best of "
        text += f"{count(verdict['count'], 'noise trial')}, which is {ratio(noise)} on average."
        blocks.append(Figure(figures.noise(sharpe, verdict), text))
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
    word = str(verdict.get("word", ""))
    numbers = {name: each.get("value") for name, each in verdict.get("numbers", {}).items()}
    trial = f"trial {verdict['winner']}, by its {verdict['metric']}" if "winner" in verdict else ""
    tiles = [Tile("The winner", word, trial, _TONES.get(word, "plain"))]
    if numbers.get("verdict_p") is not None:
        tiles.append(Tile("Its p-value", _p(numbers["verdict_p"]), "real is below 0.025"))
    if "tried" in verdict:
        ever = verdict.get("ever") or 0
        tiles.append(Tile("Tried in this study", f"{verdict['tried']:,}", f"{verdict['tested']:,} of them are tested"))
        context = "on overlapping validation bars, as far as this store knows"
        tiles.append(Tile("Tried ever", f"{max(ever, verdict['tried']):,}", context))
    if numbers.get("excess_sharpe") is not None and numbers.get("noise_sharpe") is not None:
        text = f"noise reaches {ratio(numbers['noise_sharpe'], signed=True)}"
        tiles.append(Tile("Sharpe over the market", ratio(numbers["excess_sharpe"], signed=True), text))
    opened = len(record.openings)
    if not opened:
        return [*tiles, Tile("Its test set", "sealed", "nothing has looked at it for this run")]
    text = f"opened {'once' if opened == 1 else f'{opened:,} times'}"
    last = record.openings[-1].tags.get("opened.at", "")[:10]
    return [
        *tiles,
        Tile("Its test set", text, f"last on {last}" if last else "", "plain" if opened == 1 else "warning"),
    ]


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
    if kind == "percent":
        return percent(value, 0)
    if kind == "one":
        return ratio(value, 1)
    return f"{value:,.0f}" if kind == "bars" else ratio(value)


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else ratio(value, 3 if value < 0.1 else 2)
