"""The section on whether the winner is real: the verdict with its numbers and figures, and what is said without one."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from report_pages import tiles_of

from tests.study_records import NUMBERS, PARAMS, TAGS, VERDICT, random_trials, study
from tradingbot_exp.evaluation.significance.selection_bias import needed_ratio, noise_maximum
from tradingbot_exp.evaluation.significance.verdict import repetitions_of
from tradingbot_exp.reporting.page.page import Cell, Details, Figure, Notice, Paragraph, Table, Tiles
from tradingbot_exp.reporting.study.numbers import study_of
from tradingbot_exp.reporting.study.robustness import logits, noise, replays, robustness_blocks
from tradingbot_exp.reporting.study.verdict import verdict_blocks


def section(verdict=VERDICT, **fields):
    record = study(random_trials(12), params=PARAMS, verdict=verdict, **fields)
    found = study_of(record)
    return [*verdict_blocks(found), *robustness_blocks(found)]


def of(blocks, kind):
    return [block for block in blocks if isinstance(block, kind)]


def folded(blocks):
    (details,) = of(blocks, Details)
    return details.blocks


def test_the_card_holds_the_word_the_skill_the_bars_and_both_counts():
    blocks = section()
    assert [type(block) for block in blocks[:3]] == [Paragraph, Tiles, Details]
    assert blocks[0].text == VERDICT["headline"]
    shown = tiles_of(blocks)
    assert next(iter(shown)) == "Is the winner real?"
    word = shown["Is the winner real?"]
    assert (word.value, word.context, word.tone) == ("not shown", "trial 6, by its val_loss", "warning")
    assert (shown["Its p-value"].value, shown["Its p-value"].context) == ("0.31", "real is below 0.025")
    skill = shown["Information coefficient"]
    assert (skill.value, skill.context) == ("+0.031", "about 0.15 would be needed")
    bars, tried = shown["Validation bars"], shown["Configurations tried"]
    assert (bars.value, bars.context) == ("484", "some 12,000 would be needed")
    assert (tried.value, tried.context) == ("40", "12 in this study, 10 of them tested")
    assert shown["Its test set"].value == "sealed"
    real = tiles_of(section(VERDICT | {"word": "real"}))
    assert real["Information coefficient"].context == "about 0.15 would be needed, if bars and trials were independent"
    assert not real["Validation bars"].context
    earned = tiles_of(section(VERDICT | {"family": "return"}))["Sharpe ratio of its alpha"]
    assert (earned.value, earned.context) == ("+1.90", "about 2.60 would be needed")


def test_reasons_and_numbers_are_folded_and_seeds_and_replays_are_not():
    blocks = section()
    said = [block.text for block in of(folded(blocks), Paragraph)]
    assert said == [VERDICT["reasons"][0], "The Sharpe ratio of its alpha is −1.90 a year."]
    open_words = [block.text for block in of(blocks, Paragraph)]
    assert "1 of 3 searches on permuted targets found as good a val_loss as 0.00014 (p = 0.5)." in open_words
    assert any("1 of them failed; the study's 0.00014 is better than all 2." in text for text in open_words)


@pytest.mark.parametrize(("word", "tone"), [("real", "good"), ("cannot be told", "muted")])
def test_each_word_has_its_tone(word, tone):
    assert tiles_of(section(VERDICT | {"word": word}))["Is the winner real?"].tone == tone


def test_the_table_has_every_number_or_the_reason_why_there_is_none():
    verdict = copy.deepcopy(VERDICT)
    verdict["numbers"]["pbo"] = {"value": None, "problem": "not defined, because 10 distinct trials are too few"}
    (table,) = of(folded(section(verdict)), Table)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert len(table.rows) == len(NUMBERS) + 2  # seeds and replays
    assert rows["p-value of the winner"][0] == "0.31" and rows["Deflated Sharpe ratio"][0] == "0.40"
    assert rows["Probability of backtest overfitting"] == ["–", verdict["numbers"]["pbo"]["problem"]]
    assert rows["Minimum track record"][0] == "300" and rows["Information coefficient"][0] == "0.031"
    assert rows["Alpha"][0] == "12.3\u00a0%" and rows["Scale"][0] == "0.40"
    assert rows["p-value of 3\u00a0replays"][0] == "0.50"
    assert all(isinstance(cell, Cell) for row in table.rows for cell in row)


def test_four_figures_and_fewer_where_there_is_less_to_draw():
    assert len(of(section(), Figure)) == 4
    bare = {name: each for name, each in VERDICT.items() if name not in ("seeds", "null_replays", "pbo_logits")}
    assert len(of(section(bare), Figure)) == 1
    nothing = {"word": "cannot be told", "headline": "Cannot be told: no trial is complete.", "reasons": []}
    assert [type(block) for block in section(nothing | {"numbers": {}, "pbo_logits": []})] == [Paragraph, Tiles]


def test_the_noise_is_a_density_with_the_mean_that_the_verdict_names():
    figure = noise(
        1.9,
        math.sqrt(252 / 483),
        40,
        math.sqrt(252) * needed_ratio(40, 484).value,
        name="Sharpe ratio of alpha (a year)",
    )
    x, y = (np.array(axis) for axis in (figure.data[0].x, figure.data[0].y))
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
    mean = np.trapezoid(x * y, x)
    assert mean == pytest.approx(noise_maximum(40, 484, 252)[0].value, abs=0.03)
    assert list(figure.data[-1].x) == [1.9, 1.9]
    needed = math.sqrt(252) * needed_ratio(40, 484).value
    assert figure.data[-2].x[0] == pytest.approx(needed, abs=1e-4)
    low, high = figure.layout.xaxis.range
    assert low < min(x) and high > max(x)


def test_what_is_drawn_among_the_noise_is_what_was_searched():
    drawn = [of(section(VERDICT | {"family": family}), Figure)[0] for family in ("forecast", "return")]
    assert [each.figure.data[-1].x[0] for each in drawn] == [0.0314, 1.9]
    assert [each.figure.layout.xaxis.title.text for each in drawn] == [
        "Information coefficient",
        "Sharpe ratio of alpha (a year)",
    ]


def test_splits_at_zero_count_for_the_lower_half_and_shares_add_up():
    figure = logits(VERDICT["pbo_logits"], 0.6)
    lower, upper = (sum(trace.y) for trace in figure.data)
    assert (lower, upper) == pytest.approx((60, 40))


def test_every_replay_is_in_the_histogram_and_the_winner_a_line():
    figure = replays(VERDICT["null_replays"])
    assert sum(figure.data[0].y) == 3 and list(figure.data[1].x) == [1.4e-4, 1.4e-4]


def test_openings_of_the_winners_test_set_are_counted():
    opening = replace(study().run, kind="test_evaluation", tags=TAGS | {"opened.at": "2026-11-25T10:00:00"})
    tile = tiles_of(section(openings=[opening, opening]))["Its test set"]
    assert (tile.value, tile.context, tile.tone) == ("opened 2 times", "last on 2026-11-25", "warning")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "sweep"}, "A plain sweep is not judged"),
        ({"status": "RUNNING"}, "judged at its end"),
        ({}, "was not judged"),
    ],
)
def test_a_study_without_a_verdict_says_so_in_one_muted_sentence(fields, said):
    (notice,) = section(None, **fields)
    assert isinstance(notice, Notice) and notice.tone == "muted" and said in notice.text
    assert section(None, kind="null_study") == []


def test_what_failed_is_named():
    problem = {"problem": "DataError: gone"}
    odd = dict.fromkeys(VERDICT["seeds"], "x")
    for seeds in ({"values": [1.0]}, odd, dict.fromkeys(odd), "words", 7, [1]):
        assert repetitions_of({"seeds": seeds}) == {"seeds": "its record is damaged"}
    damaged = section(VERDICT | {"seeds": {"values": [1.0]}, "null_replays": "words"})
    assert [block.text for block in damaged if isinstance(block, Notice)] == [
        "The winner could not be trained again with other seeds: its record is damaged",
        "The winner could not be compared with searches on permuted targets: its record is damaged",
    ]
    blocks = section(VERDICT | {"seeds": problem, "null_replays": problem})
    assert [notice.text for notice in of(blocks, Notice)] == [
        "The winner could not be trained again with other seeds: DataError: gone",
        "The winner could not be compared with searches on permuted targets: DataError: gone",
    ]


def test_a_verdict_that_went_through_json_is_drawn_the_same():
    once, again = section(), section(json.loads(json.dumps(VERDICT)))
    assert [figure.figure.to_json() for figure in of(once, Figure)] == [f.figure.to_json() for f in of(again, Figure)]
