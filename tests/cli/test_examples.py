"""The guide's three programs run as they stand, and MLflow holds what they say."""

from __future__ import annotations

import ast
import json
import math
import shutil
from pathlib import Path

import pytest
import yaml
from mlflow.entities import Run
from support import REPOSITORY, Finished, in_ci, once, python

from tradingbot_exp import load_run
from tradingbot_exp.errors import RunError

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(scope="module")
def programs(shared_folder: Path, store_template: Path) -> dict[str, Finished]:
    """Both programs that train, run one after the other in a folder with the examples and a migrated store."""

    def make(folder: Path) -> None:
        shutil.copytree(EXAMPLES, folder / "examples")
        shutil.copy(store_template, folder / "mlflow.db")
        for name in ("basic_training", "hpo"):
            done = python(folder, f"examples/{name}.py")
            (folder / f"{name}.json").write_text(json.dumps([done.out, done.err, done.status]))

    folder = once(shared_folder / "examples", make)
    return {
        name: Finished(folder, *json.loads((folder / f"{name}.json").read_text())) for name in ("basic_training", "hpo")
    }


@pytest.fixture
def basic(programs: dict[str, Finished]) -> Finished:
    return programs["basic_training"]


@pytest.fixture
def hpo(programs: dict[str, Finished]) -> Finished:
    return programs["hpo"]


def runs_of(done: Finished, experiment: str) -> list[Run]:
    found = done.client.get_experiment_by_name(experiment)
    assert found is not None
    return list(done.client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))


def settings(name: str) -> dict[str, dict[str, object]]:
    text = (EXAMPLES / f"{name}.yaml").read_text()
    loaded: dict[str, dict[str, object]] = yaml.safe_load(text)
    return loaded


def test_the_basic_program_records_its_run_under_its_name_with_its_tags(basic: Finished) -> None:
    assert basic.status == 0, basic.err
    (run,) = runs_of(basic, "basic_training_example")
    assert run.info.run_name == "Basic_NN_Training" and run.info.status == "FINISHED"
    expected = settings("basic_training_example")["experiment"]["tags"]
    assert isinstance(expected, dict) and expected.items() <= run.data.tags.items()
    assert run.data.tags["run.kind"] == "training"


def test_the_basic_programs_run_holds_config_history_and_files(basic: Finished) -> None:
    (run,) = runs_of(basic, "basic_training_example")
    given = settings("basic_training_example")
    for block in ("model", "training"):
        for key, value in given[block].items():
            assert run.data.params[f"{block}.{key}"] == str(value)
    curve = basic.client.get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in curve] == list(range(1, 51))
    assert run.data.metrics["final_loss"] == curve[-1].value and math.isfinite(curve[-1].value)
    folder = basic.artifacts(run)
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {
        "config/config.yaml",
        "environment/environment.json",
        "environment/requirements.txt",
        "model_architecture.txt",
        "plots/training_history.html",
    } <= files
    summary = (folder / "model_architecture.txt").read_text()
    assert "Linear" in summary and "2,817" in summary.replace("2817", "2,817")  # 10*64+64 + 64*32+32 + 32+1


def test_the_search_program_records_a_study_with_a_child_a_trial(hpo: Finished) -> None:
    assert hpo.status == 0, hpo.err
    runs = runs_of(hpo, "hpo_example")
    (parent,) = [run for run in runs if run.data.tags["run.kind"] == "study"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == len(runs) - 1 == 10
    assert {run.info.status for run in runs} == {"FINISHED"}
    space = settings("hpo_example")["hpo"]["param_space"]
    assert isinstance(space, dict)
    for child in children:
        assert float(child.data.params["training.learning_rate"]) in space["learning_rate"]
        assert int(child.data.params["training.batch_size"]) in space["batch_size"]
    lowest = min(child.data.metrics["final_loss"] for child in children)
    (best,) = [child for child in children if child.info.run_id == parent.data.tags["best.run_id"]]
    assert best.data.metrics["final_loss"] == lowest == json.loads(best.data.tags["trial.values"])[0]


def test_the_study_and_its_best_trial_can_be_loaded(hpo: Finished) -> None:
    (parent,) = [run for run in runs_of(hpo, "hpo_example") if run.data.tags["run.kind"] == "study"]
    study = load_run(parent.info.run_id, hpo.cwd)
    best_id = study.tags["best.run_id"]
    with pytest.raises(RunError, match=rf"It is a study; its best trial has it: load_run\('{best_id}'\)"):
        study.predictions  # noqa: B018
    best = load_run(best_id, hpo.cwd)
    assert len(best.predictions) == 20
    for key in ("training.learning_rate", "training.batch_size", "model.hidden_layers", "data.name"):
        block, _, name = key.partition(".")
        assert str(getattr(getattr(best.config, block), name)) == best.params[key]
    # The newest run is a trial; the latest is what a person means.
    assert load_run("latest", hpo.cwd).tags["run.kind"] != "trial"


def test_the_report_program_writes_its_three_reports(basic: Finished, hpo: Finished) -> None:
    (training,) = runs_of(basic, "basic_training_example")
    runs = runs_of(hpo, "hpo_example")
    (study,) = [run for run in runs if run.data.tags["run.kind"] == "study"]
    done = python(
        basic.cwd, "examples/reports.py", training.info.run_id, study.info.run_id, study.data.tags["best.run_id"]
    )
    assert done.status == 0, done.err
    for name, run in (("training", training), ("hpo", study), ("comparison", training)):
        text = (basic.cwd / "reports" / f"{name}_report.html").read_text(encoding="utf-8")
        assert text.rstrip().endswith("</html>") and run.info.run_id in text


@in_ci
def test_the_report_program_says_which_run_is_not_there(basic: Finished) -> None:
    unknown = "0" * 32
    done = python(basic.cwd, "examples/reports.py", unknown, unknown)
    last = done.err.strip().splitlines()[-1]
    assert done.status == 1 and f"There is no run '{unknown}'" in last


@pytest.mark.parametrize("name", ["basic_training", "hpo", "reports"])
def test_the_programs_import_nothing_of_ours_but_public_names(name: str) -> None:
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [
        node
        for node in imports
        if "tradingbot_exp" in (getattr(node, "module", None) or "") + " ".join(alias.name for alias in node.names)
    ]
    assert [getattr(node, "module", None) for node in ours] == ["tradingbot_exp"]
