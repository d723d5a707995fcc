"""Apps of the shape of the Optuna sweeper's own examples, under that sweeper, with our callback in their config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import Run
from support import REPOSITORY, Finished, in_ci, python

APPS = REPOSITORY / "tests" / "apps" / "optuna_examples"


@dataclass(frozen=True)
class Example:
    """An app: how many trials it makes, and what each has to report for its params."""

    name: str
    trials: int
    params: set[str]
    objectives: Callable[[dict[str, float]], dict[str, float]]


SPHERE = Example("sphere", 10, {"x", "y"}, lambda at: {"objective": at["x"] ** 2 + at["y"] ** 2})
TWO_OBJECTIVES = Example(
    "two_objectives",
    8,
    {"x", "y"},
    lambda at: {
        "objective_0": at["x"] ** 2 + at["y"] ** 2,
        "objective_1": (at["x"] - 5) ** 2 + (at["y"] - 5) ** 2,
    },
)
DEPENDENT_SPACE = Example(
    "dependent_space",
    8,
    {"x", "near_x", "extra", "reach"},
    lambda at: {"objective": at["x"] ** 2 + at["near_x"] ** 2 + at["extra"] ** 2},
)


def sweep(cwd: Path, example: Example, *overrides: str) -> Finished:
    return python(cwd, str(APPS / f"{example.name}.py"), "--multirun", *overrides)


def family(done: Finished) -> tuple[Run, list[Run]]:
    """The only parent, and its children by name."""
    runs = done.runs()
    (parent,) = [run for run in runs if run.data.tags["run.kind"] == "sweep"]
    children = sorted((run for run in runs if run is not parent), key=lambda run: run.info.run_name)
    assert {child.data.tags["run.kind"] for child in children} == {"trial"}
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert "mlflow.parentRunId" not in parent.data.tags
    return parent, children


def point(child: Run, example: Example) -> dict[str, float]:
    """The child's params as numbers; it has those of its app and no others."""
    params = {key: value for key, value in child.data.params.items() if key != "refuse_beyond"}
    assert set(params) == example.params
    return {key: float(value) for key, value in params.items()}


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(SPHERE, id=SPHERE.name),
        *(pytest.param(example, id=example.name, marks=in_ci) for example in (TWO_OBJECTIVES, DEPENDENT_SPACE)),
    ],
)
def test_where_an_example_raises_its_child_is_failed_and_the_others_are_not(workdir: Path, example: Example) -> None:
    done = sweep(workdir, example, "refuse_beyond=0.4", "hydra.sweeper.max_failure_rate=1")
    assert done.status == 0, done.err
    parent, children = family(done)
    assert parent.info.status == "FINISHED"
    assert [child.info.run_name for child in children] == [f"trial-{number:04d}" for number in range(example.trials)]
    assert {child.info.status for child in children} == {"FAILED", "FINISHED"}
    points = [point(child, example) for child in children]
    for child, at in zip(children, points, strict=True):
        if at["x"] > 0.4:
            assert child.info.status == "FAILED" and child.data.metrics == {}
            assert child.data.tags["error"] == f"RuntimeError: x={child.data.params['x']} lies beyond 0.4"
        else:
            assert child.info.status == "FINISHED" and "error" not in child.data.tags
            assert child.data.metrics == pytest.approx(example.objectives(at))
    if example is SPHERE:
        assert {(at["x"], at["y"]) for at in points} == {(x / 2, y) for x in range(-2, 3) for y in (-3, 0)}
    if example is DEPENDENT_SPACE:
        assert all(abs(at["near_x"] - at["x"]) <= at["reach"] and 0 <= at["extra"] <= 1 for at in points)


def test_a_sweep_that_its_failures_end_is_failed(workdir: Path) -> None:
    done = sweep(workdir, SPHERE, "refuse_beyond=-5", "hydra.sweeper.max_failure_rate=0")
    assert done.status == 1
    parent, children = family(done)
    assert parent.info.status == "FAILED" and "lies beyond -5" in parent.data.tags["error"]
    assert [child.info.status for child in children] == ["FAILED"]
