"""What differs between runs is told from what only looks different: numbers by value, patches by content."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from tradingbot_exp.tracking.reading.differences import compare, config_rows, differing, metric_rows, touched
from tradingbot_exp.tracking.reading.run_context import RunContext
from tradingbot_exp.tracking.reading.run_record import Artifacts, RunRecord

PATCH = """diff --git a/src/x.py b/src/x.py
--- a/src/x.py
+++ b/src/x.py
@@ -1 +1 @@
-a = 1
+a = {}
diff --git "a/new \\303\\274.txt" "b/new \\303\\274.txt"
new file mode 100644
"""


def context(patch: str | None = None, metrics: dict[str, float] | None = None, **given: Any) -> RunContext:
    tags = {"mlflow.source.git.commit": "c" * 40, "git.dirty": "true" if patch else "false", "data.fingerprint": "f"}
    tags |= given.pop("tags", {})
    when = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunRecord("r", "r", "1", "e", "training", "FINISHED", when, when, {"seed": "1"}, tags, metrics or {})
    facts: dict[str, Any] = {
        "overrides": (),
        "card": {"rows": 10, "period": ["2020-01-01T00:00:00", "2020-02-01T00:00:00"]},
        "environment": {
            "python": {"version": "3.11.7"},
            "hardware": {"cpu": "x"},
            "variables": {"OMP_NUM_THREADS": "1"},
        },
        "requirements": {"torch": "2", "zlib": "1", "alpha": "1"},
    }
    return RunContext(run, Artifacts(patch=None if patch is None else patch.encode(), **facts | given))


def test_equal_numbers_are_equal_however_they_are_written() -> None:
    assert differing([{"a": "0.001", "b": "nan"}, {"a": "1e-3", "b": "nan"}]) == []
    assert [row.values for row in differing([{"a": "1"}, {}])] == [("1", None)]


def test_two_names_of_the_learning_rate_are_one_difference_and_names_decide_nothing() -> None:
    params = [
        {"model.learning_rate": lr, "training.learning_rate": lr, "tracking.uri": lr, "hpo.num_trials": "1"}
        for lr in ("0.1", "0.2")
    ]
    deciding, harmless = config_rows(params, [True, True])
    assert [row.name for row in deciding] == ["model.learning_rate"]
    assert [row.name for row in harmless] == ["tracking.uri"]


def test_a_nan_is_the_same_as_a_nan() -> None:
    assert metric_rows({"a": math.nan, "b": 1.0}, {"a": math.nan, "b": 1.0}) == ()
    assert [row.name for row in metric_rows({"a": math.nan}, {"a": 1.0, "b": 0.0})] == ["a", "b"]


def test_patches_are_compared_and_the_files_that_they_touch_are_named() -> None:
    a, b = (context(PATCH.format(number)) for number in (1, 2))
    found = compare(a, b)
    assert found.patch_files[0][0] == "src/x.py" and len(touched(PATCH)) == 2
    assert "-+a = 1" in found.patch and "++a = 2" in found.patch and not found.identical
    assert compare(a, a).identical and compare(a, a).patch == ""


@pytest.mark.parametrize(
    ("given", "block", "name"),
    [
        ({"requirements": {"torch": "3", "zlib": "2", "alpha": "2"}}, "packages", "torch"),
        ({"environment": {"python": {"version": "3.12.0"}, "hardware": {"cpu": "y"}}}, "hardware", "processor"),
        ({"tags": {"data.fingerprint": "g"}}, "data", "fingerprint"),
        ({"tags": {"mlflow.source.git.commit": "d" * 40}}, "code", "commit"),
    ],
)
def test_each_difference_is_filed_where_it_belongs(given: dict[str, Any], block: str, name: str) -> None:
    found = compare(context(), context(**given))
    assert getattr(found, block)[0].name == name and not found.identical


def test_a_branch_of_another_name_at_the_same_commit_is_no_difference() -> None:
    other = context(tags={"mlflow.source.git.branch": "b"})
    assert compare(context(tags={"mlflow.source.git.branch": "a"}), other).identical


def test_what_one_run_did_not_record_is_named_and_not_compared() -> None:
    found = compare(context(), context(requirements=None, environment=None))
    assert found.missing == ("packages: not recorded by run B", "hardware: not recorded by run B")
    assert found.identical and found.packages == ()
