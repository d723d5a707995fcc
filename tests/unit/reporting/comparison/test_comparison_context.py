"""What the compared runs do not share, and what is said about it."""

from dataclasses import replace

import pytest
from comparison_records import PARAMS, forecasts, foreign, made, with_artifacts

from tradingbot_exp.reporting.comparison.compared import grouped
from tradingbot_exp.reporting.comparison.context import (
    code_differences,
    code_notices,
    config_differences,
    environment_differences,
    only_seed_differs,
)
from tradingbot_exp.reporting.comparison.summary import data_notices, status_notices

TABLE = forecasts()


def text_of(notices):
    return " ".join(notice.text for notice in notices)


RATES = {"model.learning_rate": "0.01", "training.learning_rate": "0.01"}


@pytest.mark.parametrize(
    ("others", "deciding", "harmless"),
    [
        (
            [
                made(
                    "b", params={"model.name": "lstm", "tracking.uri": "x", "data.name": "mine", "model.dropout": "0.1"}
                )
            ],
            {"model.name": ("mlp", "lstm"), "model.dropout": (None, "0.1")},
            {"tracking.uri", "data.name"},
        ),
        ([made("b", params={"model.learning_rate": "1e-3", "training.learning_rate": "0.0010"})], {}, set()),
        ([made("b", params=RATES)], {"model.learning_rate": ("0.001", "0.01")}, set()),
        (
            [made("b", params={"training.learning_rate": "0.01"})],
            {"training.learning_rate": ("0.001", "0.01")},
            set(),
        ),
        (
            [made("b", tags={"data.fingerprint": "f" * 32})],
            {"data.fingerprint": ("3513f4f719e9", "f" * 32)},
            set(),
        ),
        ([foreign()], {}, set()),
        ([made("b", params={"seed": "7"}), foreign()], {"seed": ("42", "7", None)}, set()),
    ],
    ids=["params", "equal numbers", "one rate", "the other rate", "data", "foreign", "seed"],
)
def test_what_differs_is_split_into_what_decides_a_result_and_what_does_not(others, deciding, harmless):
    rows, rest = config_differences([made("a"), *others])
    assert {row.name: row.values for row in rows} == deciding
    assert {row.name for row in rest} == harmless
    undefined = [made(name, params={"model.dropout": "nan"}) for name in "ab"]
    assert config_differences(undefined) == ([], [])  # NaN is itself


def test_only_the_seed_differs_if_data_code_and_all_other_keys_are_the_same():
    first, seed = made("a", TABLE), {"seed": "7"}
    assert only_seed_differs([first, made("b", TABLE, seed)])
    assert not only_seed_differs([first, made("b", TABLE)])
    assert not only_seed_differs([first, made("b", TABLE, seed | {"model.name": "lstm"})])
    assert not only_seed_differs([first, made("b", TABLE, seed, {"data.fingerprint": "another"})])
    assert not only_seed_differs([first, made("b", TABLE, seed, {"mlflow.source.git.commit": "another"})])
    assert not only_seed_differs([first, made("b", TABLE.iloc[5:], seed)])


def test_only_the_seed_differs_only_if_the_code_is_known_to_be_the_same():
    dirty = {"git.dirty": "true"}
    first, second = made("a", TABLE, tags=dirty), made("b", TABLE, {"seed": "7"}, dirty)
    assert not only_seed_differs([first, second])  # nobody knows what the changes were
    same, other = with_artifacts(second, patch=b"p"), with_artifacts(second, patch=b"q")
    assert only_seed_differs([with_artifacts(first, patch=b"p"), same])
    assert not only_seed_differs([with_artifacts(first, patch=b"p"), other])
    beside = {"git": {"left_out_of_patch": ["big.bin"]}}
    assert not only_seed_differs([with_artifacts(first, patch=b"p"), with_artifacts(same, environment=beside)])
    stacked = made("b", TABLE, {"seed": "7"}, {"engine": "stacked"})
    assert not only_seed_differs([made("a", TABLE, tags={"engine": "single"}), stacked])


def test_different_data_are_said_to_make_metrics_incomparable():
    other = made("b", TABLE, tags={"data.fingerprint": "ffffffffffff", "data.name": "msft"})
    (notice,) = data_notices([made("a", TABLE), other, made("c", TABLE)])
    assert notice.tone == "bad"
    assert notice.text.startswith("These runs saw different data: their metrics are not comparable (")
    assert "A, C: ibm 3513f4f7; B: msft ffffffff" in notice.text
    text = text_of(data_notices([made("a", TABLE), foreign()]))
    assert text.startswith("Which data B saw is not recorded")
    assert "different" not in text


def test_other_validation_bars_are_named():
    text = text_of(data_notices([made("a", TABLE), made("b", TABLE.iloc[10:])]))
    assert "validated on different bars (A: 2020-01-01 to 2021-02-23; B: 2020-01-15 to 2021-02-23)" in text
    card = {"split": {"val": {"start": "2020-01-15T00:00:00", "end": "2021-02-23T00:00:00"}}}
    assert text == text_of(data_notices([made("a", TABLE), with_artifacts(made("b"), card=card)]))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("evaluation.cost_bps", "20", "were judged by different rules"),
        ("data.horizon", "5", "forecast different things"),
        ("training.loss", "mae", "were trained on different losses"),
    ],
)
def test_what_makes_some_metrics_incomparable_is_said(key, value, said):
    (notice,) = data_notices([made("a", TABLE), made("b", TABLE, {key: value})])
    assert said in notice.text
    assert f"{key}: A: {PARAMS[key]}; B: {value}" in notice.text


def test_runs_that_share_all_that_matters_need_no_notice():
    records = [made("a", TABLE), made("b", TABLE, {"seed": "7"})]
    assert data_notices(records) == status_notices(records) == code_notices(records) == []


def test_another_commit_is_a_warning_and_one_dirty_tree_among_clean_ones_is_named():
    other = made("b", tags={"mlflow.source.git.commit": "fedcba9876543210"})
    (notice,) = code_notices([made("a"), other])
    assert notice.tone == "warning"
    assert "different commits (A: 0123456789; B: fedcba9876)" in notice.text
    dirty = [made("a"), made("b", tags={"git.dirty": "true"})]
    (notice,) = code_notices(dirty)
    assert notice.text.startswith("B came from a work tree with uncommitted changes")
    assert [row.values for row in code_differences(dirty)] == [("false", "true")]


@pytest.mark.parametrize(
    ("patches", "said", "tone"),
    [
        ((b"p", b"p"), "All runs came from the same uncommitted changes.", "muted"),
        ((b"p", b"q"), "their patches differ", "warning"),
        ((None, b"p"), "whether the code was the same cannot be told", "muted"),
        ((None, None), "whether the code was the same cannot be told", "muted"),
    ],
)
def test_uncommitted_changes_are_told_apart_by_their_patches(patches, said, tone):
    dirty = {"git.dirty": "true"}
    records = [with_artifacts(made("x", tags=dirty), patch=patch) for patch in patches]
    (notice,) = code_notices(records)
    assert said in notice.text
    assert notice.tone == tone


def test_another_source_of_the_package_is_other_code_and_a_branch_is_none():
    sources = [with_artifacts(made(each), environment={"code": {"sha256": each}}) for each in "ab"]
    assert [(row.name, row.values) for row in code_differences(sources)] == [("source of tradingbot_exp", ("a", "b"))]
    branches = [made(each, tags={"mlflow.source.git.branch": each}) for each in "ab"]
    assert code_differences(branches) == []


def test_environments_differ_by_what_can_change_numbers():
    first = {"python": {"version": "3.11.7"}, "torch": {"version": "2.13.0", "cuda": None}, "host": "a"}
    second = {"python": {"version": "3.11.7"}, "torch": {"version": "2.12.0", "cuda": None}, "host": "b"}
    records = [with_artifacts(made(name), environment=each) for name, each in (("a", first), ("b", second))]
    (row,) = environment_differences(records)
    assert (row.name, row.values) == ("torch", ("2.13.0", "2.12.0"))
    assert "different environments (torch)" in text_of(code_notices(records))


def test_runs_that_are_not_finished_are_named_with_their_error():
    running, failed = made("b", TABLE, status="RUNNING", ended=None), made("c", TABLE, {}, {"error": "loss is NaN"})
    failed = replace(failed, run=replace(failed.run, status="FAILED"))
    text = text_of(status_notices([made("a", TABLE), running, failed]))
    assert "B is still running" in text
    assert "C failed: its numbers are those until then (loss is NaN)" in text
    broken = with_artifacts(made("b", TABLE), problems=("data/data_card.json: no JSON",))
    assert "B: not readable: data/data_card.json: no JSON" in text_of(status_notices([made("a", TABLE), broken]))


def test_runs_without_forecasts_are_named_and_a_trial_says_how_to_keep_them():
    text = text_of(status_notices([made("a", TABLE), made("b"), foreign()]))
    assert "C was logged by something else" in text
    assert "B has no forecasts on record" in text and "hpo.keep" not in text
    assert "hpo.keep=all" in text_of(status_notices([made("a", TABLE), made("b", kind="trial")]))


def test_groups_read_as_sentences():
    assert grouped(["x", None, "x"]) == "A, C: x; B: not recorded"
