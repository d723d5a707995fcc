"""Studies that start from the best trial of another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from mlflow import MlflowClient

from tradingbot_exp import ConfigurationManager, ExperimentOrganizer, run_hpo_study
from tradingbot_exp.errors import ConfigError, RunError
from tradingbot_exp.hpo.prior import Prior
from tradingbot_exp.hpo.samplers import START, make_sampler
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.storage import open_storage
from tradingbot_exp.hpo.study import StudyResult, enqueue_start, prior_of

WIDE = {"learning_rate": {"low": 1e-4, "high": 1e-2}, "batch_size": [32, 64]}


def run(space: dict[str, Any], **hpo: Any) -> StudyResult:
    config = ConfigurationManager(overrides=["training=smoke", "training.progress=off"]).get_config()
    config.hpo.reseeds, config.hpo.num_trials, config.hpo.param_space = 0, 3, space
    for name, value in hpo.items():
        setattr(config.hpo, name, value)
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(200, 4)), rng.normal(size=200), rng.normal(size=(60, 4)), rng.normal(size=60)
    return run_hpo_study(config, *sets, ExperimentOrganizer(config))


def studies(folder: Path) -> set[str]:
    return set(optuna.get_all_study_names(open_storage(None, folder)[0]))


def test_the_best_of_another_study_is_tried_first_and_only_where_the_study_begins(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workdir)
    first = run(WIDE)
    best = first.best[0].params
    capsys.readouterr()
    second = run(WIDE, prior=first.parent_id[:10], start=[{"batch_size": 64}])
    told = capsys.readouterr()
    assert f"Trial {first.best[0].number} of the run {first.parent_id}" in told.out + told.err
    given, inherited, drawn = second.study.get_trials()
    assert given.params["training.batch_size"] == 64 and inherited.params == best
    assert [trial.user_attrs.get(START) for trial in (given, inherited, drawn)] == [0, 1, None]
    assert prior_of(second.study, SearchSpace.parse(WIDE)) == Prior(first.parent_id, best)
    tags = MlflowClient().get_run(second.parent_id).data.tags
    assert tags["study.prior"] == first.parent_id

    MlflowClient().delete_run(first.parent_id)  # a study that goes on has its points already
    more = run(WIDE, prior=first.parent_id[:10], start=[{"batch_size": 64}], num_trials=4)
    assert more.parent_id == second.parent_id and len(more.study.get_trials()) == 4
    with pytest.raises(ConfigError, match=f"hpo.prior: {first.parent_id[:10]} before, latest now"):
        run(WIDE, prior="latest", start=[{"batch_size": 64}], study_name=second.name)


def test_what_the_other_study_did_not_search_or_found_elsewhere_is_drawn(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    first = run(WIDE, start=[{"learning_rate": 2e-3}], num_trials=1)
    space = {"learning_rate": {"low": 1e-3, "high": 1e-1}, "batch_size": [8, 16], "dropout": [0.0, 0.1]}
    second = run(space, prior="latest")
    assert prior_of(second.study, SearchSpace.parse(space)) == Prior(first.parent_id, {"model.learning_rate": 2e-3})
    params = second.study.get_trials()[0].params
    assert params["model.learning_rate"] == 2e-3 and params["training.batch_size"] in (8, 16)


@pytest.mark.parametrize(
    ("hpo", "record", "error", "why"),
    [
        ({"prior": "zzz"}, None, RunError, "^hpo.prior: There is no run 'zzz'"),
        ({"prior": "a b"}, None, RunError, "^hpo.prior: 'a b' is not a run id"),
        ({"prior": "trial"}, None, RunError, r"^hpo.prior: the run \w+ .* is a trial, not a study"),
        (
            {"prior": "latest", "num_trials": 1, "start": [{"batch_size": 32}]},
            None,
            ConfigError,
            "one more of hpo.prior",
        ),
        ({"prior": "latest", "sampler": "grid"}, None, ConfigError, "^hpo.prior is for samplers that draw"),
        ({"prior": "latest"}, "{not json", RunError, "^hpo.prior: .* without a best trial on record"),
        ({"prior": "latest"}, "[" * 4900, RunError, "^hpo.prior: .* without a best trial on record"),
        ({"prior": "latest"}, json.dumps({"model.learning_rate": 10**400}), ConfigError, "learning_rate=10{59}, and"),
        ({"prior": "latest"}, "[1]", RunError, "^hpo.prior: .* without a best trial on record"),
        ({"prior": "latest"}, json.dumps({"model.learning_rate": "${oc.env:HOME}"}), ConfigError, "no value is in"),
        ({"prior": "latest"}, json.dumps({"training.batch_size": [[32]], "seed": 7}), ConfigError, "no value is in"),
    ],
)
def test_a_prior_that_cannot_be_used_is_refused_before_anything_is_made(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, hpo: dict[str, Any], record: str | None, error: type, why: str
) -> None:
    monkeypatch.chdir(workdir)
    first = run(WIDE, num_trials=1)
    if record is not None:
        MlflowClient().set_tag(first.parent_id, "best.params", record)
    if hpo["prior"] == "trial":
        hpo = {"prior": first.best[0].user_attrs["run_id"]}
    before = studies(workdir), len(MlflowClient().search_runs(["1"]))
    assert before[1] == 2
    with pytest.raises(error, match=why):
        run(WIDE, **hpo)
    assert (studies(workdir), len(MlflowClient().search_runs(["1"]))) == before


def test_what_a_creator_that_died_has_found_stays(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    first = run(WIDE, num_trials=1)
    mine = run(WIDE, prior="latest", study_name="mine", num_trials=2)
    newest = run(WIDE, start=[{"learning_rate": 9e-3}], num_trials=1)
    storage, space = mine.study._storage, SearchSpace.parse(WIDE)
    storage.set_study_user_attr(mine.study._study_id, "definition", None)
    again = run(WIDE, prior="latest", study_name="mine")
    assert first.parent_id != newest.parent_id
    assert prior_of(again.study, space) == Prior(first.parent_id, first.best[0].params)
    assert sum(START in trial.user_attrs for trial in again.study.get_trials()) == 1


@pytest.mark.parametrize(
    ("kept", "point"),
    [
        ({"a": 1}, None),
        ("x", None),
        ([1, 2], None),
        ({"run_id": "a", "point": {"model.learning_rate": "${oc.env:HOME}", "seed": 7}}, {}),
        ({"run_id": "a", "point": {"training.batch_size": 64}}, {"training.batch_size": 64}),
    ],
)
def test_of_what_a_storage_says_only_values_of_the_space_count(kept: object, point: dict[str, Any] | None) -> None:
    study = optuna.create_study()
    study.set_user_attr("prior", kept)
    assert prior_of(study, SearchSpace.parse(WIDE)) == (None if point is None else Prior("a", point))


def test_a_null_search_begins_as_the_search_did() -> None:
    config = ConfigurationManager(overrides=["training=smoke"]).get_config()
    config.hpo.start = [{"batch_size": 64}]
    space = SearchSpace.parse(WIDE)
    study = optuna.create_study(sampler=make_sampler("random", 1, space.distributions))
    for _ in range(2):
        enqueue_start(study, config, space, Prior("other", {"model.learning_rate": 1e-3}))
    points = [space.suggest(study.ask()) for _ in range(2)]
    assert len(study.get_trials()) == 2
    assert points[0]["training.batch_size"] == 64 and points[1]["model.learning_rate"] == 1e-3
