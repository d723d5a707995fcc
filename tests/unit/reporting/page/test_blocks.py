"""The parts that reports share: how a run ended, how to get it again, and its configuration as tables."""

from datetime import UTC, datetime

import pytest
from report_pages import blocks, facts_of, texts_of

from tradingbot_exp.plots.numbers import percent
from tradingbot_exp.reporting.page.again import again_blocks, code_cell
from tradingbot_exp.reporting.page.blocks import header_facts, number_cell, problem_notices
from tradingbot_exp.reporting.page.configuration import changes, configuration_blocks, data_blocks, shown
from tradingbot_exp.reporting.page.ending import ending_blocks
from tradingbot_exp.reporting.page.outline import Part, page_of
from tradingbot_exp.reporting.page.page import Cell, Code, Details, Notice, Paragraph, Table
from tradingbot_exp.tracking.reading.run_context import RunContext
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve

NAN = float("nan")
COMMIT = "0123456789012345678901234567890123456789"


def made_of(run, **artifacts):
    return RunContext(run, Artifacts(**artifacts))


def losses(*values):
    return {"val_loss": Curve(tuple(range(1, len(values) + 1)), values)}


def test_a_number_sorts_by_itself_and_a_missing_one_last():
    assert number_cell(0.1234, percent) == Cell("12.3\u00a0%", sort=0.1234)
    assert number_cell(NAN, percent) == number_cell(None, percent) == Cell("–", tone="muted")


def test_the_header_tells_status_and_time(make_run):
    facts = dict(header_facts(make_run()))
    assert (facts["Status"].text, facts["Status"].tone) == ("finished", "good")
    assert facts["Started"].text == "2026-11-24 12:00:00 UTC"
    assert facts["Took"].text.replace("\u00a0", " ") == "1 min 15 s"
    facts = dict(header_facts(make_run(status="RUNNING", ended=None)))
    assert (facts["Status"].text, facts["Took"].text) == ("running", "still running")
    assert dict(header_facts(make_run(status="KILLED", ended=None)))["Took"].text == "–"


@pytest.mark.parametrize(
    ("status", "state", "shown", "tone"),
    [
        ("FINISHED", "complete", "finished", "good"),
        ("FINISHED", "pruned", "pruned by its study", "warning"),
        ("FAILED", "failed", "failed", "bad"),
        ("KILLED", "interrupted", "interrupted", "bad"),
    ],
)
def test_the_header_of_a_trial_tells_how_it_ended_for_its_study(make_run, status, state, shown, tone):
    cell = dict(header_facts(make_run(kind="trial", status=status, tags={"trial.state": state})))["Status"]
    assert (cell.text, cell.tone) == (shown, tone)


@pytest.mark.parametrize(
    ("curves", "metrics", "where"),
    [
        ({}, {}, "before its first epoch was over"),
        (losses(0.3, 0.2), {}, "at epoch 3 of 50"),
        (losses(0.3, 0.2, NAN), {}, "at epoch 3 of 50"),
        (losses(*[0.1] * 50), {}, "after training"),
        (losses(0.3), {"final_loss": 0.3}, "after training"),
    ],
)
def test_a_failed_run_says_where_and_why_and_folds_its_traceback(make_run, curves, metrics, where):
    params, tags = {"training.epochs": "50"}, {"error": "ValueError: <b>no</b>"}
    run = make_run(status="FAILED", params=params, tags=tags, curves=curves, metrics=metrics)
    notice, folded = ending_blocks(run, "Traceback (most recent call last):\n  …\nValueError: <b>no</b>\n")
    assert notice.tone == "bad"
    assert where in notice.text
    assert "failed" in notice.text
    assert "ValueError: <b>no</b>" in notice.text
    (code,) = folded.blocks
    assert code.text.startswith("Traceback")


def test_of_a_run_without_a_traceback_its_end_is_said_as_far_as_it_is_known(make_run):
    assert ending_blocks(make_run(), None) == []
    notice, paragraph = ending_blocks(make_run(status="KILLED"), None)
    assert "was interrupted" in notice.text
    assert paragraph == Paragraph("No error is on record.")
    run = make_run(status="RUNNING", ended=None, params={"training.epochs": "50"}, curves=losses(0.3, 0.2))
    (notice,) = ending_blocks(run, None)
    assert "still running" in notice.text
    assert "2\u00a0epochs of 50 done" in notice.text
    (notice,) = problem_notices(Artifacts(problems=("data/data_card.json: not JSON",)))
    assert "data/data_card.json: not JSON" in notice.text


def test_a_clean_run_is_had_again_by_checkout_and_command(make_run):
    run = make_run(tags={"mlflow.source.git.commit": COMMIT, "git.dirty": "false", "config.sha256": "c"})
    codes = [code.text for code in blocks(again_blocks(made_of(run, overrides=("seed=1",))), Code)]
    assert codes == [
        f"git checkout {COMMIT}",
        "python -m tradingbot_exp.train seed=1",
        f"python -m tradingbot_exp reproduce {run.run_id} --verify",
    ]


def test_a_dirty_run_also_takes_its_patch_if_that_was_kept(make_run):
    run = make_run(tags={"mlflow.source.git.commit": COMMIT, "git.dirty": "true", "data.fingerprint": "f" * 32})
    environment = {"git": {"left_out_of_patch": ["big.bin"]}}
    parts = again_blocks(made_of(run, overrides=(), patch=b"diff", environment=environment))
    assert f"mlflow artifacts download -r {run.run_id} -a code/uncommitted.patch" in blocks(parts, Code)[0].text
    facts = facts_of(parts)
    assert facts["Commit"].tone == "warning"
    assert "uncommitted changes" in facts["Commit"].text
    assert facts["Patch"].text.startswith(f"code/uncommitted.patch, in the artifacts of the run {run.run_id}")
    assert facts["Patch"].text.endswith("it leaves out big.bin")
    assert facts["Data fingerprint"].text == "f" * 32
    parts = again_blocks(made_of(run))
    assert facts_of(parts)["Patch"].text == "there were uncommitted changes, and they were not kept"
    assert "git apply" not in blocks(parts, Code)[0].text


def test_a_run_of_a_program_of_its_own_gets_no_command_of_ours(make_run):
    made = made_of(make_run(), overrides=("seed=1",), environment={"command": "python mine.py"})
    (notice,) = blocks(again_blocks(made), Notice)
    assert notice.text == "Made by a program of its own: python mine.py"
    assert not blocks(again_blocks(made), Code)


def test_what_is_not_recorded_is_said_to_be_so(make_run):
    parts = again_blocks(made_of(make_run()))
    assert blocks(parts, Notice)[0].text == "The command of this run is not recorded."
    assert facts_of(parts)["Seed"].text == "not recorded"
    assert "Patch" not in facts_of(parts)
    assert code_cell(made_of(make_run())).tone == "muted"


def test_a_page_has_the_sections_that_have_blocks_and_says_when_and_by_which_version_it_was_made():
    from tradingbot_exp import __version__

    parts = [Part("a", "A", (lambda it: [Paragraph(it)], lambda it: [Notice(it)])), Part("b", "B", (lambda _: [],))]
    page = page_of("subject", parts, "title", "kind", [])
    assert [(section.anchor, list(section.blocks)) for section in page.sections] == [
        ("a", [Paragraph("subject"), Notice("subject")])  # one without blocks is left out
    ]
    assert page.made.startswith(f"Made {datetime.now(UTC):%Y-%m-%d}") and page.made.endswith(f" {__version__}")


def test_params_are_grouped_by_block_and_new_values_marked_with_the_old(make_run):
    old = {"seed": "1", "training.epochs": "50", "model.learning_rate": "0.001", "hpo.num_trials": "10"}
    new = old | {"training.epochs": "20", "model.learning_rate": "1e-3", "training.loss": "mae"}
    del new["seed"]
    run, previous = make_run(params=new), make_run(name="before", params=old)
    parts = configuration_blocks(made_of(run), previous)
    changed = blocks(parts, Table)[0]
    assert "before" in changed.caption
    assert texts_of(changed) == [
        ["seed", "not there", "1"],
        ["training.epochs", "20", "50"],
        ["training.loss", "mae", "not there"],
    ]
    main, rest = blocks(parts, Details)
    assert [table.caption for table in main.blocks] == ["model", "training"]
    assert [cell.text for cell in main.blocks[1].rows[0]] == ["epochs", "20 (was 50)"]
    assert main.blocks[1].rows[0][1].tone == "warning"
    assert main.blocks[0].rows[0][1] == Cell("1e-3")
    assert [table.caption for table in rest.blocks] == ["hpo"]


def test_the_first_run_the_same_run_and_the_run_without_params_each_have_a_sentence(make_run):
    run = make_run(params={"seed": "1"})
    assert "No earlier training run" in blocks(configuration_blocks(made_of(run), None), Paragraph)[0].text
    assert "exactly as the previous run" in blocks(configuration_blocks(made_of(run), run), Paragraph)[0].text
    assert "No parameters" in configuration_blocks(made_of(make_run()), None)[0].text
    for kind in ("trial", "study", ""):  # none of these is in the line of training runs
        assert blocks(configuration_blocks(made_of(make_run(params={"seed": "1"}, kind=kind)), None), Paragraph) == []


def test_other_bars_are_a_change_and_the_two_learning_rates_are_one(make_run):
    rates = {"model.learning_rate": "0.001", "training.learning_rate": "0.001"}
    before = make_run(params=rates, tags={"data.fingerprint": "a"})
    now = make_run(params=dict.fromkeys(rates, "0.01"), tags={"data.fingerprint": "b"})
    rows = {row.name: row.values for row in changes(made_of(now), before)}
    assert rows == {"data.fingerprint": ("a", "b"), "model.learning_rate": ("0.001", "0.01")}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("None", "not set"),
        (None, "not there"),
        ("['a', 'b']", "a, b"),
        ("[]", "none"),
        ("[64, 32]", "64, 32"),
        ("x", "x"),
    ],
)
def test_params_are_shown_as_people_write_them(value, text):
    assert shown(value) == text


def test_the_data_card_gives_period_split_and_fingerprint(make_run):
    card = {
        "name": "ibm",
        "symbol": "IBM",
        "rows": 3270,
        "usable_rows": 3236,
        "period": ["2000-03-01T00:00:00", "2013-03-01T15:30:00"],
        "target": "return",
        "horizon": 5,
        "sequence_length": 20,
        "features": ["a", "b"],
        "fingerprint": "abc",
        "split": {"train": {"rows": 2264, "start": "2000-04-17T00:00:00", "end": "2009-04-20T00:00:00"}},
    }
    facts, table = data_blocks(card, make_run())
    texts = {name: cell.text.replace("\u00a0", " ") for name, cell in facts.facts}
    assert texts["Period"] == "2000-03-01 to 2013-03-01 15:30:00"
    assert texts["Bars"] == "3,270, of which 3,236 have features and a target"
    assert texts["Target"] == "return, 5 bars ahead, from the last 20 bars"
    assert texts["Features"] == "2: a, b"
    assert texts["Fingerprint"] == "abc"
    assert [cell.text for cell in table.rows[0]] == ["train", "2,264", "2000-04-17", "2009-04-20"]


@pytest.mark.parametrize("card", [None, {}, {"split": "odd", "period": 3, "rows": "many", "features": 1}])
def test_a_card_that_is_missing_or_odd_is_no_failure(make_run, card):
    assert data_blocks(card, make_run(tags={"data.fingerprint": "abc"}))
