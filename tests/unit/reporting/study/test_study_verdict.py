"""The section on whether the winner is real: the verdict with its numbers and figures, and what is said without one."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.study_records import PARAMS, TAGS, VERDICT, random_trials, study
from tradingbot_exp.reporting.page.page import Cell, Figure, Notice, Paragraph, Table, Tiles
from tradingbot_exp.reporting.study.numbers import study_of
from tradingbot_exp.reporting.study.verdict import verdict_blocks
from tradingbot_exp.reporting.study.verdict_figures import logits, noise, replays


def section(verdict=VERDICT, **fields):
    record = study(random_trials(12), params=PARAMS, verdict=verdict, **fields)
    return verdict_blocks(study_of(record), record)


def of(blocks, kind):
    return [block for block in blocks if isinstance(block, kind)]


def tiles(blocks):
    return {tile.label: tile for tile in of(blocks, Tiles)[0].tiles}


def test_the_word_comes_first_with_its_reasons_and_both_counts():
    blocks = section()
    shown = tiles(blocks)
    assert next(iter(shown)) == "The winner"
    assert (shown["The winner"].value, shown["The winner"].tone) == ("not shown", "warning")
    assert (shown["Tried in this study"].value, shown["Tried ever"].value) == ("12", "40")
    assert shown["Sharpe over the market"].value == "+1.90" and "+1.40" in shown["Sharpe over the market"].context
    assert shown["Its test set"].value == "sealed"
    said = [block.text for block in of(blocks, Paragraph)]
    assert said[0] == VERDICT["headline"] and said[1] == VERDICT["reasons"][0]
    assert "Sharpe ratio is −1.90 a year" in said[2]
    assert "1 of 3 searches on permuted targets found as good a val_loss as 0.00014 (p = 0.5)." in said
    assert any("1 of them failed; the study's 0.00014 is better than all 2." in text for text in said)


@pytest.mark.parametrize(("word", "tone"), [("real", "good"), ("cannot be told", "muted")])
def test_each_word_has_its_tone(word, tone):
    assert tiles(section(VERDICT | {"word": word}))["The winner"].tone == tone


def test_the_table_has_every_number_or_the_reason_why_there_is_none():
    verdict = copy.deepcopy(VERDICT)
    verdict["numbers"]["pbo"] = {"value": None, "problem": "not defined, because 10 distinct trials are too few"}
    (table,) = of(section(verdict), Table)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert len(rows) == 14
    assert rows["p-value of the winner"][0] == "0.31" and rows["Deflated Sharpe ratio"][0] == "0.40"
    assert rows["Probability of backtest overfitting"] == ["–", verdict["numbers"]["pbo"]["problem"]]
    assert rows["Minimum track record"][0] == "300"
    assert rows["p-value of 3\u00a0replays"][0] == "0.50"
    assert all(isinstance(cell, Cell) for row in table.rows for cell in row)


def test_four_figures_and_fewer_where_there_is_less_to_draw():
    assert len(of(section(), Figure)) == 4
    bare = {name: each for name, each in VERDICT.items() if name not in ("seeds", "null_replays", "pbo_logits")}
    assert len(of(section(bare), Figure)) == 1
    nothing = {"word": "cannot be told", "headline": "Cannot be told: no trial is complete.", "reasons": []}
    assert [type(block) for block in section(nothing | {"numbers": {}, "pbo_logits": []})] == [Tiles, Paragraph]


def test_the_noise_is_a_density_with_the_mean_that_the_verdict_names():
    figure = noise(1.9, VERDICT)
    x, y = (np.array(axis) for axis in (figure.data[0].x, figure.data[0].y))
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
    from tradingbot_exp.evaluation.significance.luck import noise_maximum

    mean = np.trapezoid(x * y, x)
    assert mean == pytest.approx(noise_maximum(40, 484, 252).expected, abs=0.03)
    assert list(figure.data[-1].x) == [1.9, 1.9]
    low, high = figure.layout.xaxis.range
    assert low < min(x) and high > max(x)


def test_splits_at_zero_count_for_the_lower_half_and_shares_add_up():
    figure = logits(VERDICT["pbo_logits"], 0.6)
    lower, upper = (sum(trace.y) for trace in figure.data)
    assert (lower, upper) == pytest.approx((60, 40))


def test_every_replay_is_in_the_histogram_and_the_winner_a_line():
    figure = replays(VERDICT["null_replays"])
    assert sum(figure.data[0].y) == 3 and list(figure.data[1].x) == [1.4e-4, 1.4e-4]


def test_openings_of_the_winners_test_set_are_counted():
    opening = replace(study().run, kind="test_evaluation", tags=TAGS | {"opened.at": "2026-11-25T10:00:00"})
    tile = tiles(section(openings=[opening, opening]))["Its test set"]
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
    blocks = section(VERDICT | {"seeds": problem, "null_replays": problem})
    assert [notice.text for notice in of(blocks, Notice)] == [
        "The winner could not be trained again with other seeds: DataError: gone",
        "The winner could not be compared with searches on permuted targets: DataError: gone",
    ]


def test_a_verdict_that_went_through_json_is_drawn_the_same():
    once, again = section(), section(json.loads(json.dumps(VERDICT)))
    assert [figure.figure.to_json() for figure in of(once, Figure)] == [f.figure.to_json() for f in of(again, Figure)]
