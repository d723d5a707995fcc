"""Runs and studies read back out of a real store, by id, prefix and latest; by SQL and from a server."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from sqlalchemy import event
from support import in_ci, make_run

from tradingbot_exp.errors import RunError, TrackingError
from tradingbot_exp.reporting.comparison.context import code_notices, only_seed_differs
from tradingbot_exp.reporting.page.blocks import run_link
from tradingbot_exp.reporting.study.numbers import study_of
from tradingbot_exp.reporting.training.report import training_page
from tradingbot_exp.tracking.reading.artifacts import PATCH, read_artifacts
from tradingbot_exp.tracking.reading.curves import read_curves
from tradingbot_exp.tracking.reading.fetch import rank_trials, run_record, study_record, training_record
from tradingbot_exp.tracking.reading.health import examine
from tradingbot_exp.tracking.reading.ledger import read_ledger
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates
from tradingbot_exp.tracking.reading.openings import overlapping_openings
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import Store, open_store

SPACE = '{"model.learning_rate": {"low": 0.0001, "high": 0.01}}'


def make_study(client: MlflowClient, experiment: str, values: list[float | None]) -> tuple[str, list[str]]:
    parent = make_run(client, experiment, "study", start=1000)
    client.log_batch(parent, params=[Param("hpo.metric", "val_ic"), Param("hpo.direction", "maximize")])
    client.log_text(parent, SPACE, "study/search_space.json")
    children = []
    for number, value in enumerate(values):
        state = "failed" if value is None else "complete"
        child = make_run(
            client,
            experiment,
            "trial",
            start=2000 + number,
            mlflow__parentRunId=parent,
            trial__number=str(number),
            trial__state=state,
            trial__values="" if value is None else json.dumps([value]),
        )
        points = [Metric("val_loss", 1.0 / (step + number), step, step) for step in range(1, 4)]
        client.log_batch(child, points, [Param("model.learning_rate", "0.001"), Param("model.name", "mlp")])
        children.append(child)
    return parent, children


@pytest.fixture
def store(workdir: Path) -> Store:
    return open_store(f"sqlite:///{workdir / 'mlflow.db'}")


@pytest.fixture
def experiment(store: Store, workdir: Path) -> str:
    return str(store.client.create_experiment("here", (workdir / "mlruns").as_uri()))


def test_a_run_is_found_by_id_prefix_and_latest(store: Store, experiment: str) -> None:
    old = make_run(store.client, experiment, "training", start=1000)
    new = make_run(store.client, experiment, "training", start=2000)
    for kind in ("trial", "null_study", "test_evaluation", "backtest"):
        make_run(store.client, experiment, kind, start=3000)
    foreign = make_run(store.client, experiment, "", start=500)
    assert find_run(store, old).info.run_id == old
    assert find_run(store, old[:12]).info.run_id == old
    assert find_run(store, "latest").info.run_id == new
    assert find_run(store, foreign[:10]).info.run_id == foreign
    store.client.delete_run(new)
    assert find_run(store, "latest").info.run_id == old
    with pytest.raises(RunError, match=rf"was deleted. Restore it with `mlflow runs restore --run-id {new}`"):
        find_run(store, new[:12])


def test_what_is_no_run_is_named_with_what_would_be_right(
    store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, kinds, said in (
        ("latest", ["study"], "There is no study in"),
        ("latest", ["training", ""], "There is no training run in"),
        (None, None, "There is no run 'None' in"),
        ("100%", None, "is not a run id"),
    ):
        with pytest.raises(RunError, match=said):
            find_run(store, text, kinds)  # type: ignore[arg-type]
    for _ in range(41):  # two of their ids begin alike
        make_run(store.client, experiment, "training", start=1000)
    with pytest.raises(RunError, match="There is no run 'zzz' in"):
        find_run(store, "zzz")
    ids = [run.info.run_id for run in store.client.search_runs([experiment])]
    letter = next(letter for letter in "0123456789abcdef" if sum(each.startswith(letter) for each in ids) > 1)
    with pytest.raises(RunError, match=f"'{letter}' is the beginning of .* run ids"):
        find_run(store, letter)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nowhere")
    with pytest.raises(RunError, match=r"no experiment 'nowhere' in .*; there are: Default, here"):
        find_run(store, "latest")


@pytest.mark.parametrize("question", [read_ledger, looks_at, overlapping_openings, lambda store, _: examine(store)])
def test_a_question_that_takes_several_searches_asks_for_the_experiments_once(
    store: Store, experiment: str, question: Callable[[Store, MarketDates], object]
) -> None:
    make_run(store.client, experiment, "test_evaluation", opened__start="2020-01-01", opened__end="2020-12-31")
    ask = store.client.search_experiments
    with mock.patch.object(store.client, "search_experiments", wraps=ask) as asked:
        question(store, MarketDates("IBM", ("2020-01-01", "2020-12-31")))
    assert asked.call_count == 1


def test_a_directory_means_the_database_in_it_or_beside_it(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (workdir / "mlruns").mkdir()
    assert open_store(workdir).uri == f"sqlite:///{workdir / 'mlflow.db'}"
    assert open_store(str(workdir / "mlruns")).uri == f"sqlite:///{workdir / 'mlflow.db'}"
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(TrackingError, match="There is no tracking store in"):
        open_store(empty)
    with pytest.raises(TrackingError, match="There is no tracking store at"):
        open_store(f"sqlite:///{empty / 'mlflow.db'}")
    assert not list(empty.iterdir())


def test_an_old_file_store_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tmp_path.as_uri())
    parent, children = make_study(client, client.create_experiment("old"), [0.1, 0.3])
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    record = study_record(open_store(tmp_path), find_run(open_store(tmp_path), parent))
    assert [trial.run_id for trial in record.trials] == children
    assert record.trials[1].curve.values == (1 / 2, 1 / 3, 1 / 4)
    os.environ.pop("MLFLOW_ALLOW_FILE_STORE", None)


def test_a_trial_is_reported_with_what_its_study_keeps_for_all(store: Store, experiment: str) -> None:
    parent, (child, *_) = make_study(store.client, experiment, [0.1, 0.2])
    tags = {"mlflow.source.git.commit": "c" * 40, "git.dirty": "true", "study.name": "s", "config.sha256": "d"}
    store.client.log_batch(parent, tags=[RunTag(*pair) for pair in tags.items() if pair[0] != "study.name"])
    for name in ("study.name", "config.sha256"):
        store.client.set_tag(child, name, tags[name])
    store.client.log_param(parent, "model.name", "mlp")
    store.client.log_text(parent, "diff", PATCH)
    store.client.log_text(parent, "- training.epochs=2\n", "config/overrides.yaml")
    store.client.log_text(parent, '{"fingerprint": "f"}', "data/data_card.json")
    store.client.log_text(parent, '{"python": {"version": "3.11.7"}}', "environment/environment.json")
    store.client.log_text(parent, "of the study", "error/traceback.txt")
    record = training_record(store, find_run(store, child))
    assert record.artifacts.traceback is None  # the study's end is not the trial's
    assert (record.fingerprint, record.patch, record.patch_holder) == ("f", b"diff", parent)
    text = repr(training_page(record).sections)
    assert f"{'c' * 40}, with uncommitted changes" in text and f"download -r {parent} -a {PATCH}" in text
    assert "tradingbot_exp.train training.epochs=2 model.learning_rate=0.001" in text and "Python 3.11.7" in text
    for untrue in ("did not start in a git", "command of this run is not recorded", "first training run"):
        assert untrue not in text


def test_two_dirty_trees_on_one_commit_are_told_apart(store: Store, experiment: str) -> None:
    records = []
    for number, patch in enumerate(("one", "two", "two")):
        run_id = make_run(store.client, experiment, "training", start=1000, git__dirty="true", data__fingerprint="f")
        store.client.log_text(run_id, patch, PATCH)
        store.client.log_batch(
            run_id, params=[Param("seed", str(number))], tags=[RunTag("mlflow.source.git.commit", "c")]
        )
        records.append(training_record(store, find_run(store, run_id)))
    assert "their patches differ" in code_notices(records[:2])[0].text and not only_seed_differs(records[:2])
    assert "the same uncommitted changes" in code_notices(records[1:])[0].text and only_seed_differs(records[1:])


def test_values_that_are_not_finite_are_never_best(store: Store, experiment: str) -> None:
    parent, children = make_study(store.client, experiment, [math.nan, 0.2, math.inf, 0.1])
    store.client.log_text(children[1], "- x=1\n", "config/overrides.yaml")
    record = study_record(store, find_run(store, parent))
    assert [trial.number for trial in record.best] == [1, 3]
    assert record.winner_overrides == ("x=1",)
    assert study_of(record).best == record.best
    assert [trial.number for trial in rank_trials(record.trials, ["minimize"])] == [3, 1]


def test_a_study_is_read_with_its_trials_in_their_order(store: Store, experiment: str) -> None:
    parent, children = make_study(store.client, experiment, [0.1, None, 0.3, 0.2])
    record = study_record(store, find_run(store, parent))
    assert (record.metrics, record.directions) == (("val_ic",), ("maximize",))
    assert [trial.run_id for trial in record.trials] == children
    assert [trial.state for trial in record.trials] == ["complete", "failed", "complete", "complete"]
    assert [trial.number for trial in record.best] == [2, 3, 0]
    assert record.trials[0].params == {"model.learning_rate": 0.001}
    assert record.trials[0].curve.steps == (1, 2, 3)
    assert record.trials[0].curve.values == (1.0, 1 / 2, 1 / 3)
    assert record.trials[0].seconds == 2.5


def test_the_trials_of_a_plain_sweep_have_the_params_that_differ_and_say_what_counts(
    store: Store, experiment: str
) -> None:
    parent = make_run(store.client, experiment, "sweep", start=1000)
    for number, rate in enumerate(("0.1", "0.2")):
        child = make_run(
            store.client,
            experiment,
            "trial",
            start=2000 + number,
            mlflow__parentRunId=parent,
            trial__number=str(number),
        )
        params = {"model.learning_rate": rate, "model.name": "mlp", "hpo.metric": "val_ic", "hpo.direction": "maximize"}
        store.client.log_batch(
            child, [Metric("val_ic", 0.01 * number, 1, 0)], [Param(*pair) for pair in params.items()]
        )
    record = study_record(store, find_run(store, parent))
    assert (record.metrics, record.directions) == (("val_ic",), ("maximize",))
    assert [trial.params for trial in record.trials] == [{"model.learning_rate": 0.1}, {"model.learning_rate": 0.2}]
    assert [trial.number for trial in record.best] == [1, 0]


def test_of_several_objectives_the_front_is_best(store: Store, experiment: str) -> None:
    parent, children = make_study(store.client, experiment, [0.0] * 4)
    other = make_run(store.client, experiment, "study", start=1000)
    store.client.log_batch(
        other, params=[Param("hpo.metric", "['val_mse', 'val_ic']"), Param("hpo.direction", "['minimize', 'maximize']")]
    )
    for child, values in zip(children, ("[1.0, 1.0]", "[2.0, 2.0]", "[2.0, 1.0]", "[1.0, 1.0]"), strict=True):
        store.client.log_batch(child, tags=[RunTag("trial.values", values), RunTag("mlflow.parentRunId", other)])
    record = study_record(store, find_run(store, other))
    assert record.metrics == ("val_mse", "val_ic")
    assert [trial.number for trial in record.best] == [0, 3, 1]
    assert parent != other


def test_curves_are_the_same_from_sql_and_one_by_one(store: Store, experiment: str) -> None:
    _, children = make_study(store.client, experiment, [0.1, 0.2, 0.3])
    store.client.log_metric(children[0], "val_loss", 9.0, timestamp=99, step=2)  # logged again: the newest counts
    store.client.log_metric(children[1], "val_loss", math.nan, timestamp=99, step=4)
    store.client.log_metric(children[2], "val_loss", math.inf, timestamp=99, step=4)
    together = read_curves(store, children, "val_loss")
    single = {child: read_curves(store, [child], "val_loss")[child] for child in children}
    assert {key: repr(curve) for key, curve in together.items()} == {key: repr(each) for key, each in single.items()}
    assert together[children[0]].values == (1.0, 9.0, 1 / 3)
    assert math.isnan(together[children[1]].values[3]) and together[children[2]].values[3] == math.inf
    assert read_curves(store, children, "nothing") == {}
    other: Any = SimpleNamespace(get_metric_history=store.client.get_metric_history)  # nothing private
    assert repr(read_curves(Store(other, store.uri), children, "val_loss")) == repr(together)


def queries(store: Store, parent: str) -> int:
    """Count the queries that reading a study takes."""
    engine = store.client._tracking_client.store.engine
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    run = find_run(store, parent)
    event.listen(engine, "before_cursor_execute", note)
    try:
        study_record(store, run)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert asked
    return len(asked)


@in_ci
def test_a_server_gives_the_same_as_the_database_behind_it(
    store: Store,
    experiment: str,
    workdir: Path,
    free_port: int,
    start_server: Callable[[list[str], Path, int], subprocess.Popen[bytes]],
) -> None:
    parent, children = make_study(store.client, experiment, [0.1] * 11)  # more than are asked for at once
    command = ["mlflow", "server", "--backend-store-uri", store.uri, "--port", str(free_port), "--workers", "1"]
    start_server(command, workdir, free_port)
    remote = open_store(f"http://127.0.0.1:{free_port}")
    assert read_curves(remote, children, "val_loss") == read_curves(store, children, "val_loss")
    far, near = (study_record(each, find_run(each, parent[:14])) for each in (remote, store))
    assert far.trials == near.trials and far.run == near.run and far.space == near.space
    assert run_link(far.run, "x") == f"http://127.0.0.1:{free_port}/#/experiments/{experiment}/runs/x"
    assert run_link(near.run, "x") is None
    few, _ = make_study(store.client, experiment, [0.1] * 2)
    assert queries(store, few) == queries(store, parent)


def test_artifacts_that_are_missing_or_broken_are_told_apart(store: Store, experiment: str) -> None:
    run_id = make_run(store.client, experiment, "training", start=1000)
    store.client.log_text(run_id, "{", "data/data_card.json")
    store.client.log_text(run_id, "- model.name=lstm\n", "config/overrides.yaml")
    store.client.log_text(run_id, "date,actual,forecast\n2020-01-02,0.1,0.2\n", "evaluation/validation_returns.csv")
    artifacts = read_artifacts(store, find_run(store, run_id))
    assert artifacts.card is None and artifacts.environment is None
    assert artifacts.problems and artifacts.problems[0].startswith("data/data_card.json: ")
    assert artifacts.overrides == ("model.name=lstm",)
    assert artifacts.predictions is not None and artifacts.predictions["date"].dtype.kind == "M"


def test_a_run_of_something_else_is_read_as_far_as_it_goes(store: Store, experiment: str) -> None:
    run_id = store.client.create_run(experiment, 1000).info.run_id
    record = run_record(store, find_run(store, run_id), ["val_loss"])
    assert (record.kind, record.status, record.ended, record.seconds) == ("", "RUNNING", None, None)
    assert record.experiment == "here" and record.curves == {} and record.metrics == {}


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("data/data_card.json", "[1]", "it should be a mapping, and is [1]"),
        ("data/data_card.json", '{"split": {"val": "x"}}', 'split.val should be a mapping, and is "x"'),
        ("data/data_card.json", '{"folds": [3]}', "a fold should be a mapping, and is 3"),
        ("environment/environment.json", '{"torch": [1]}', "torch should be a mapping"),
        ("config/overrides.yaml", "a: 1\n", "it should be a list"),
        ("data/feature_histograms.json", "{}", "it should be a list"),
    ],
)
def test_an_artifact_of_another_form_is_named_and_left_out(
    store: Store, experiment: str, path: str, text: str, said: str
) -> None:
    run_id = make_run(store.client, experiment, "training", start=1000)
    store.client.log_text(run_id, text, path)
    artifacts = read_artifacts(store, find_run(store, run_id))
    assert len(artifacts.problems) == 1 and artifacts.problems[0].startswith(f"{path}: {said}")
    assert (artifacts.card, artifacts.environment, artifacts.overrides, artifacts.histograms) == (None,) * 4


@pytest.mark.parametrize("space", ["{", "[1]", '{"a": 5}', '{"a": {"low": null, "high": 1}}', '{"a": {"choices": 5}}'])
def test_a_study_whose_files_and_tags_are_broken_is_read_as_far_as_it_goes(
    store: Store, experiment: str, space: str
) -> None:
    parent, children = make_study(store.client, experiment, [0.1, 0.2, 0.3])
    store.client.log_text(parent, space, "study/search_space.json")
    store.client.log_text(parent, "no table", "evaluation/trial_returns.parquet")
    for child, tags in zip(
        children,
        [{"trial.values": "{"}, {"trial.values": "[null]"}, {"trial.number": "²", "trial.duplicate_of": "x"}],
        strict=True,
    ):
        for name, value in tags.items():
            store.client.set_tag(child, name, value)
    study = study_record(store, find_run(store, parent))
    assert study.space == {}
    assert [problem.partition(":")[0] for problem in study.artifacts.problems] == [
        "study/search_space.json",
    ]
    assert [(trial.number, trial.values, trial.duplicate_of) for trial in study.trials] == [
        (-1, (0.3,), None),
        (0, (), None),
        (1, (), None),
    ]


def test_latest_finds_a_run_of_something_else_where_such_a_run_may_be_meant(store: Store, experiment: str) -> None:
    old = make_run(store.client, experiment, "training", start=1000)
    foreign = make_run(store.client, experiment, "", start=2000)
    make_run(store.client, experiment, "", start=3000, mlflow__parentRunId=foreign)
    make_run(store.client, experiment, "study", start=4000)
    assert find_run(store, "latest", ["training", ""]).info.run_id == foreign
    assert find_run(store, "latest", ["training"]).info.run_id == old
    new = make_run(store.client, experiment, "training", start=5000)
    assert find_run(store, "latest", ["training", ""]).info.run_id == new
