"""A user's own package adds a model, features, a source, a metric and callbacks, in every process that runs a job."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest
from support import REPOSITORY, in_ci, python, train

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.finalize import config_sha256
from tradingbot_exp.config.modules import load_plugins, plugins_sha256
from tradingbot_exp.config.plugins import metric, source
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.space.names import targets_of

DESK = ["--config-dir", "conf", "experiment=my_desk"]


@pytest.fixture
def desk(workdir: Path) -> Path:
    """The example package and its configuration directory in an empty launch directory."""
    shutil.copytree(REPOSITORY / "examples" / "extending", workdir, dirs_exist_ok=True)
    bars = load_bars(DataConfig(name="msft")).frame.reset_index()
    bars.assign(date=bars["date"].astype(str)).to_sql("bars", sqlite3.connect(workdir / "bars.db"), index=False)
    return workdir


@in_ci
def test_one_run_uses_all_that_a_package_adds_and_records_it(desk: Path) -> None:
    """And its model forecasts in a process that has not heard of the package."""
    done = train(desk, *DESK, "data=sqlite", "data.path=bars.db", "model.options.blocks=3", "training.epochs=2")
    assert done.status == 0, done.err
    run = done.run
    assert run.data.params["model.options.blocks"] == "3" and run.data.params["data.options.table"] == "bars"
    assert run.data.metrics["val_gain_to_pain"] != 0 and run.data.metrics["val_loss"] > 0
    card = json.loads((done.artifacts() / "data" / "data_card.json").read_text())
    assert card["source"] == "sqlite, by my_desk.sources.sqlite" and card["features"][-1] == "momentum_120"
    assert card["usable_rows"] == card["rows"] - 120 - 1
    assert run.data.tags["plugins.sha256"] and run.data.tags["model.name"] == "residual"
    assert (desk / "logbook.txt").read_text() == "residual COMPLETED\n"
    overrides = (done.artifacts() / "config" / "overrides.yaml").read_text()
    assert overrides.startswith("- hydra.searchpath=[file://conf]\n")
    load_bars(DataConfig(name="ibm")).frame.reset_index().to_csv(desk / "ibm.csv", index=False)
    forecast = python(desk, "-m", "tradingbot_exp", "predict", "latest", "--data", "ibm.csv", "--trust")
    assert forecast.status == 0, forecast.err
    assert "120 bars at the start left out" in forecast.err


@in_ci
def test_a_study_in_worker_processes_searches_options_of_the_users_model_for_their_metric(desk: Path) -> None:
    done = train(
        desk,
        *(*DESK, "--multirun", "hpo.num_trials=2", "hpo.reseeds=0", "training.epochs=12"),
        *("hydra/launcher=joblib", "hpo.n_jobs=2", "tracking.register=desk"),
    )
    assert done.status == 0, done.err
    assert "hydra.searchpath=[file://conf]" in done.out and "registered as models:/desk/1" in done.out
    assert "tracking.register" not in done.out.partition("the winner by itself:")[2]
    parent, *trials = done.runs()
    assert {trial.data.tags["trial.state"] for trial in trials} == {"complete"} and len(trials) == 2
    values = [trial.data.metrics["val_gain_to_pain"] for trial in trials]
    (best,) = [trial for trial in trials if trial.info.run_id == parent.data.tags["best.run_id"]]
    assert best.data.metrics["val_gain_to_pain"] == max(values)
    assert {int(trial.data.params["model.options.blocks"]) for trial in trials} <= {0, 1, 2, 3, 4}
    alone = done.out.partition("the winner by itself:\n")[2].strip().splitlines()[0]
    again = train(desk, *shlex.split(alone)[3:])
    assert again.status == 0, again.err
    assert again.runs()[-1].data.metrics["val_gain_to_pain"] == max(values)
    # The hook stops a run at its tenth epoch or later, and the callback notes each job.
    assert (desk / "logbook.txt").read_text() == "residual COMPLETED\n" * 3


def refused(desk: Path, body: str) -> str:
    """Write a module, load it as a plugin, and give the message."""
    (desk / "theirs.py").write_text(body)
    with pytest.raises(ConfigError) as caught:
        compose_config(["plugins=[theirs]"])
    return str(caught.value)


def test_a_module_that_is_missing_or_raises_is_named(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    with pytest.raises(ConfigError, match=r"plugins: there is no module 'my_desc': .*Did you mean 'my_desk'\?"):
        compose_config(["plugins=[my_desc]"])
    with pytest.raises(ConfigError, match=r"'my_desk\.modles': .*Did you mean 'my_desk\.models'\?"):
        compose_config(["plugins=[my_desk.modles]"])
    with pytest.raises(ConfigError, match=r"plugins: 'my_desk/models\.py' is not a module; expected a dotted name"):
        compose_config(["plugins=['my_desk/models.py']"])
    assert "ZeroDivisionError: division by zero (theirs.py, line 2)" in refused(desk, "a = 1\n1 / 0\n")
    assert "SyntaxError" in refused(desk, "def f(:\n") and "line 1" in refused(desk, "def f(:\n")
    assert "theirs cannot be imported: ModuleNotFoundError: No module named 'nowhere'" in refused(
        desk, "import nowhere\n"
    )
    given = "from tradingbot_exp.data.features import feature\n@feature('clv')\ndef mine(bars): ...\n"
    assert "theirs: data.features: 'clv' is tradingbot_exp.data.features.clv already" in refused(desk, given)
    with pytest.raises(ConfigError, match=r"\+model\.options\.width=VALUE"):
        compose_config(["model.options.width=3"])
    with pytest.raises(ConfigError, match="plugins cannot be searched"):
        targets_of("plugins", "hpo.param_space.plugins")


def test_names_of_this_package_are_not_given_to_others() -> None:
    for decorator, text in (
        (lambda: source("csv"), "'csv' is a source of this package"),
        (lambda: metric("sharpe"), "val_sharpe is a metric of this package"),
        (lambda: metric("Big name"), "'Big name' is not a name for a metric"),
    ):
        with pytest.raises(ConfigError, match=text):
            decorator()


def test_an_option_of_a_model_can_be_searched_and_all_of_them_together_cannot() -> None:
    assert targets_of("model.options.blocks", "here") == ("model.options.blocks",)
    with pytest.raises(ConfigError, match=r"model\.options cannot be searched, as it is a mapping"):
        targets_of("model.options", "here")


def test_options_are_refused_where_nothing_reads_them() -> None:
    with pytest.raises(ConfigError, match=r"model\.options=\{'a': 1\} is for a model of your own: mlp takes none"):
        compose_config(["+model.options.a=1"])
    with pytest.raises(ConfigError, match=r"data\.options=\{'a': 1\} is for a data source of your own"):
        compose_config(["+data.options.a=1"])


def test_the_hash_of_plugins_follows_their_source_and_that_of_the_configuration_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "hashed_desk"
    (package / "deep").mkdir(parents=True)
    for name in ("__init__.py", "a.py", "deep/__init__.py"):
        (package / name).write_text("")
    load_plugins(["hashed_desk.a"])
    first = plugins_sha256(["hashed_desk.a"])
    assert first is not None and len(first) == 12 and plugins_sha256(["hashed_desk"]) == first
    (package / "deep" / "__init__.py").write_text("x = 1\n")
    assert plugins_sha256(["hashed_desk.a"]) != first
    assert plugins_sha256([]) is None
    with_plugin = config_sha256(compose_config(["plugins=[hashed_desk.a]"]), "f")
    assert with_plugin != config_sha256(compose_config(), "f")
