"""What can be verified is trained again and compared; what cannot be is refused with its reason, and left as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from support import artifact_folder, in_ci

from tradingbot_exp import EnhancedMLflowLogger, ExperimentOrganizer, load_run, train
from tradingbot_exp.cli.main import run
from tradingbot_exp.config.finalize import flatten
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import RunError
from tradingbot_exp.recorded.reproduction.place import Place, data_file
from tradingbot_exp.recorded.reproduction.verify import compare, verify
from tradingbot_exp.tracking.reading.recipe import Recipe, read_recipe
from tradingbot_exp.tracking.reading.run_context import RunContext
from tradingbot_exp.tracking.reading.run_record import Curve
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store

QUICK = ["training=smoke", "training.progress=off", "tracking.report=false"]


def write_bars(path: Path, rows: int = 400) -> None:
    bars = load_bars(DataConfig(name="synthetic", source="synthetic")).frame.iloc[:rows]
    bars.rename_axis("date").to_csv(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[Any]:
    """A run on a file of bars, named relative to the launch directory, which is outside git."""
    folder = tmp_path_factory.mktemp("verify")
    shutil.copy(store_template, folder / "mlflow.db")
    write_bars(folder / "bars.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        loaded = train(["data=csv", "data.path=bars.csv", *QUICK])
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        yield SimpleNamespace(folder=folder, uri=uri, run=loaded, client=MlflowClient(uri))


def recipe(made: Any, run_id: str = "") -> Recipe:
    store = open_store(made.uri)
    return read_recipe(store, find_run(store, run_id or made.run.run_id))


def again(made: Any, change: Callable[[str, int, float], float] = lambda name, step, value: value) -> RunContext:
    """What a perfect replay would leave, but for points that `change` alters."""
    found = recipe(made).made
    curves = {
        name: Curve(curve.steps, tuple(change(name, *point) for point in zip(*curve.points, strict=True)))
        for name, curve in found.run.curves.items()
    }
    return RunContext(replace(found.run, curves=curves), found.artifacts)


def test_a_run_is_made_again_and_is_identical_and_says_so_in_the_run(
    made: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # not where the run was started
    before = {run.info.run_id for run in made.client.search_runs(["0", "1"])}
    assert run(["reproduce", made.run.run_id, "--verify", "--trust", "--tracking-uri", made.uri]) == 0, (
        capsys.readouterr()
    )
    said = capsys.readouterr()
    assert said.out.startswith("identical: ") and "at every step" in said.out
    tags = made.client.get_run(made.run.run_id).data.tags
    assert tags["reproduced.result"] == "identical" and tags["reproduced.by"] and "T" in tags["reproduced.at"]
    assert {run.info.run_id for run in made.client.search_runs(["0", "1"])} == before
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_names_commit_overrides_data_packages_and_the_command(
    made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", made.run.run_id, "--tracking-uri", made.uri, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == (f"python -m tradingbot_exp.train data=csv data.path=bars.csv {' '.join(QUICK)}")
    assert found["commit"] == made.run.tags.get("mlflow.source.git.commit")
    assert found["data"]["fingerprint"] == made.run.tags["data.fingerprint"]
    assert found["packages"]["torch"] and found["launch_dir"] == str(made.folder)
    assert run(["reproduce", made.run.run_id, "--tracking-uri", made.uri]) == 0
    text = capsys.readouterr().out
    for part in (found["command"], found["data"]["fingerprint"], f"torch {found['packages']['torch']}"):
        assert part in text


def test_each_culprit_is_named_by_what_was_recorded(made: Any) -> None:
    clean = compare(recipe(made), again(made))
    assert (clean.result, clean.causes) == ("identical", ())
    other = again(made, lambda name, step, value: value + (name == "val_loss" and step == 2))
    renamed = RunContext(replace(other.run, tags={"model.version": "other"}), other.artifacts)
    environment = other.environment
    for seen, changed, kind, text in (
        (other, {"requirements": {**other.requirements, "numpy": "9"}}, "packages", "numpy was 2"),
        (renamed, {}, "code", "model's version was"),
        (other, {"environment": {**environment, "code": {"sha256": "f" * 12}}}, "code", "is ffffffffffff"),
        (other, {"environment": {**environment, "hardware": {"cpu": "Z80"}}}, "hardware", "is Z80"),
    ):
        verdict = compare(recipe(made), replace(seen, artifacts=replace(seen.artifacts, **changed)))
        assert verdict.first is not None and (verdict.first.metric, verdict.first.step) == ("val_loss", 2)
        assert verdict.causes[0].kind == kind and text in verdict.causes[0].what, verdict.causes
        assert kind in verdict.summary
    unknown = compare(recipe(made), other)
    assert unknown.causes == () and "no cause on record" in unknown.summary


def test_a_configuration_or_seed_that_is_not_the_runs_is_named(made: Any, tmp_path: Path) -> None:
    file = artifact_folder(made.client.get_run(made.run.run_id)) / "config" / "config.yaml"
    text = file.read_text()
    try:
        for old, new, kind, key in (
            ("seed: 42", "seed: 43", "seed", "seed"),
            ("epochs: 2", "epochs: 3", "configuration", "training.epochs"),
        ):
            file.write_text(text.replace(old, new))
            (cause,) = compare(recipe(made), again(made)).causes
            assert cause.kind == kind and key in cause.what
    finally:
        file.write_text(text)


def test_data_that_are_gone_are_named_with_the_places_looked_at(made: Any, tmp_path: Path) -> None:
    bars, moved = made.folder / "bars.csv", tmp_path / "moved.csv"
    bars.rename(moved)
    try:
        with pytest.raises(
            RunError, match=r"data: the file bars.csv of the run .* is not there any more .*--data FILE"
        ):
            verify(recipe(made), trust=True)
        assert data_file(recipe(made), str(moved), Place(tmp_path, tmp_path, (), "")) == (moved, "")
    finally:
        moved.rename(bars)


def test_a_data_file_that_is_in_the_commit_is_taken_from_there(made: Any, tmp_path: Path) -> None:
    checkout, own = Place(tmp_path, tmp_path, (), ""), made.folder / "bars.csv"
    assert data_file(recipe(made), None, checkout) == (own, "")
    kept = tmp_path / "bars.csv"
    shutil.copy(own, kept)
    assert data_file(recipe(made), None, checkout) == (kept, "")
    content = own.read_text()
    own.write_text(content.replace("1", "2", 1))
    file, note = data_file(recipe(made), None, checkout)
    assert file == kept and f"data: the file {own} has changed since" in note
    own.unlink()
    assert f"data: the file {own} is not there any more" in data_file(recipe(made), None, checkout)[1]
    own.write_text(content)
    assert data_file(recipe(made), str(own), checkout) == (own, "")


def test_a_trial_that_was_given_no_value_where_the_study_has_one_keeps_that(made: Any) -> None:
    config = replace(made.run.config, training=replace(made.run.config.training, early_stopping=5, gradient_clip=1.0))
    organizer = ExperimentOrganizer(config)
    with organizer.start_study("stops") as study:
        EnhancedMLflowLogger().log_config(config, ["training.early_stopping=5"])
        with organizer.start_trial(0) as trial:
            own = replace(config.training, early_stopping=None, gradient_clip=0.5)
            trial.log_params(dict(flatten(asdict(replace(config, training=own)))))
    loaded = load_run(trial.run_id, made.uri)
    assert loaded.tags["mlflow.parentRunId"] == study.run_id
    assert (loaded.config.training.early_stopping, loaded.config.training.gradient_clip) == (None, 0.5)
    assert set(recipe(made, trial.run_id).overrides[1:]) == {
        "training.early_stopping=null",
        "training.gradient_clip=0.5",
    }


@in_ci
def test_one_changed_bar_is_found_before_anything_is_trained(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = pd.read_csv(made.folder / "bars.csv")
    changed.loc[200, "volume"] += 1
    changed.to_csv(tmp_path / "changed.csv", index=False)
    before = dict(made.client.get_run(made.run.run_id).data.tags)
    words = [
        "reproduce",
        made.run.run_id,
        "--verify",
        "--trust",
        "--tracking-uri",
        made.uri,
        "--data",
        str(tmp_path / "changed.csv"),
    ]
    assert run(words) == 1
    said = capsys.readouterr().err
    assert "data: the file" in said and "One bar or more has changed; nothing was trained" in said
    assert made.client.get_run(made.run.run_id).data.tags == before


def test_a_commit_that_is_gone_is_an_error_and_changes_nothing(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tags = made.client.get_run(made.run.run_id).data.tags
    commit = tags.get("mlflow.source.git.commit")
    made.client.set_tag(made.run.run_id, "mlflow.source.git.commit", "d" * 40)
    try:
        assert run(["reproduce", made.run.run_id, "--verify", "--trust", "--tracking-uri", made.uri]) == 1
        assert f"the commit {'d' * 40} of the run is gone" in capsys.readouterr().err
    finally:
        if commit is None:
            made.client.delete_tag(made.run.run_id, "mlflow.source.git.commit")
        else:
            made.client.set_tag(made.run.run_id, "mlflow.source.git.commit", commit)


def test_runs_that_cannot_be_made_again_say_why(made: Any) -> None:
    number = made.client.get_run(made.run.run_id).info.experiment_id
    theirs = made.client.create_run(number, tags={"mlflow.source.name": "their.py"}).info.run_id
    made.client.set_terminated(theirs)
    with pytest.raises(RunError, match=r"was made by a program of its own.*Run `their.py` again"):
        verify(recipe(made, theirs), trust=True)
    made.client.set_tag(theirs, "config.sha256", "0")
    with pytest.raises(RunError, match=rf"its configuration. The run {theirs} .* has no artifact config/config.yaml"):
        verify(recipe(made, theirs), trust=True)
    assert recipe(made, theirs).command == "python -m tradingbot_exp.train"
    made.client.set_tag(theirs, "run.kind", "study")
    made.client.set_tag(theirs, "study.sampler", "own loop")
    assert recipe(made, theirs).command == "their.py (a program of its own)"
    made.client.delete_tag(theirs, "study.sampler")
    made.client.set_tag(theirs, "run.kind", "training")
    made.client.log_text(theirs, "{", "config/config.yaml")
    (problem,) = recipe(made, theirs).made.artifacts.problems
    assert problem.startswith(f"config/config.yaml of the run {theirs} is damaged: ")
    with pytest.raises(RunError, match=rf"its configuration. config/config.yaml of the run {theirs} is damaged"):
        verify(recipe(made, theirs))
    tags = {"run.kind": "trial", "study.name": "s", "config.sha256": "0", "mlflow.parentRunId": theirs}
    trial = made.client.create_run(number, tags=tags).info.run_id
    made.client.delete_run(theirs)
    with pytest.raises(RunError, match=rf"its configuration. The run {theirs} .* was deleted. Restore it with"):
        verify(recipe(made, trial))
    made.client.restore_run(theirs)
    made.client.log_text(theirs, "seed: 1\n", "config/config.yaml")
    with pytest.raises(RunError, match="has no metric"):
        verify(recipe(made, theirs), trust=True)
    made.client.log_batch(theirs, [Metric("val_loss", 1.0, 1, 1)])
    with pytest.raises(RunError, match=r"made outside git, with tradingbot_exp unknown, and .* is installed"):
        verify(recipe(made, theirs), trust=True)


def test_a_trial_of_a_stack_is_held_to_its_bound(made: Any) -> None:
    near = again(made, lambda name, step, value: value * 1.001)
    made.client.set_tag(made.run.run_id, "engine", "stacked")
    try:
        verdict = compare(recipe(made), near)
        assert verdict.result == "equal within 0.005" and verdict.is_reproduced
    finally:
        made.client.set_tag(made.run.run_id, "engine", "single")
    assert compare(recipe(made), near).result == "different"


@in_ci
def test_a_run_that_was_killed_outside_git_is_compared_as_far_as_it_went_with_the_installed_code(made: Any) -> None:
    run_id, tag = made.run.run_id, "mlflow.source.git.commit"
    commit = made.run.tags.get(tag)
    if commit is not None:
        made.client.delete_tag(run_id, tag)
    made.client.set_terminated(run_id, "KILLED")
    try:
        verdict = verify(recipe(made), trust=True)
    finally:
        made.client.set_terminated(run_id, "FINISHED")
        if commit is not None:
            made.client.set_tag(run_id, tag, commit)
    installed, early, *_ = verdict.notes
    assert "with the installed tradingbot_exp" in installed and "compared as far as it went" in early
    # The metrics of the whole run, which a killed run would not have, are those that the new one lacks.
    assert verdict.first is not None and verdict.first.step == 0 and verdict.first.now is None
