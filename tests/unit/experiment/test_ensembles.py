"""An ensemble forecasts the mean of what its seeds forecast alone, in the run, in its model, and in a study."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support import train as command

from tradingbot_exp import ExperimentReporter, load_run, run_hpo_study, train
from tradingbot_exp.cli.main import run as cli
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.data.synthetic import synthetic_bars, synthetic_panel
from tradingbot_exp.errors import ConfigError, DivergedError
from tradingbot_exp.evaluation.metrics.forecast import ic
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.recorded.predict import predict
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

QUICK = ("data=synthetic", "data.synthetic.bars=400", "training.epochs=4", "training.progress=off")
SMALL = (*QUICK, "model.hidden_layers=[8]", "tracking.report=false")
SEEDS = (42, 43, 44)
KINDS = {
    "mlp": ("model.dropout=0.2", "training.early_stopping=2"),
    "logits": ("data.target=direction", "training.loss=bce", "training.learning_rate=0.05"),
    "lstm": ("model=lstm", "data.sequence_length=3"),
    "folds": ("evaluation.scheme=walk_forward", "evaluation.folds=2"),
    "panel": ("data.synthetic.symbols=3", "data.scaling=date", "data.sequence_length=2"),
}


@pytest.fixture(autouse=True)
def _here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)


def trained(*words: str) -> LoadedRun:
    return load_run(train([*SMALL, *words]).run_id)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_forecasts_the_mean_of_what_each_seed_forecasts_in_a_run_of_its_own(kind: str) -> None:
    alone = [trained(*KINDS[kind], f"seed={seed}").predictions["forecast"].to_numpy() for seed in SEEDS]
    run = trained(*KINDS[kind], "training.ensemble=3")
    table = run.predictions
    # A stack's bits are those of a network alone, or next to them.
    np.testing.assert_allclose(table["forecast"], np.mean(alone, axis=0), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(table["members_sd"], np.std(alone, axis=0, ddof=1), rtol=1e-3, atol=1e-8)
    assert run.metrics["val_members_sd"] == pytest.approx(table["members_sd"].mean(), rel=1e-12)
    assert {name.partition("/")[0] for name in run.metrics if "/" in name} == {f"seed_{seed}" for seed in SEEDS}
    if kind == "mlp":
        assert run.metrics["final_loss"] == pytest.approx(((table["actual"] - table["forecast"]) ** 2).mean(), rel=1e-5)
        assert run.metrics["seed_43/val_ic"] == pytest.approx(ic(table["actual"], alone[1]), rel=1e-4)


@pytest.mark.parametrize("kind", ["mlp", "logits", "panel"])
def test_the_saved_model_holds_all_and_predict_says_how_far_they_are_apart(kind: str) -> None:
    run = trained(*KINDS[kind], "training.ensemble=3")
    process = run.config.data.synthetic
    made = synthetic_panel(process) if kind == "panel" else {"S": synthetic_bars(process)}
    bars = pd.concat([frame.reset_index().assign(symbol=symbol) for symbol, frame in made.items()])
    if kind != "panel":
        bars = bars.drop(columns="symbol")
    found = predict(run, bars).frame
    keys = [name for name in ("date", "symbol") if name in run.predictions]
    both = run.predictions.merge(found, on=keys, suffixes=("", "_new"))
    assert len(both) == len(run.predictions)
    np.testing.assert_allclose(both["forecast_new"], both["forecast"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(both["members_sd_new"], both["members_sd"], rtol=1e-4, atol=1e-9)


def test_the_command_writes_over_its_own_forecasts_of_an_ensemble(capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("training.ensemble=2")
    synthetic_bars(run.config.data.synthetic).to_csv("bars.csv", index_label="date")
    words = ["predict", run.run_id, "--data", "bars.csv", "-o", "forecasts.csv"]
    assert [cli(words), cli(words)] == [0, 0], capsys.readouterr().err
    assert list(pd.read_csv("forecasts.csv")) == ["date", "forecast", "members_sd", "signal", "position"]


def test_networks_of_one_run_are_one_stack_and_have_curves_of_their_own(workdir: Path) -> None:
    done = command(workdir, *SMALL, "training.ensemble=3")
    assert "the mean of 3 networks" in done.out
    run = load_run("latest")
    assert run.tags["engine"] == "stacked" and run.tags["stack.position"] == "0,1,2"
    client = MlflowClient()
    curves = {
        name: [point.value for point in client.get_metric_history(run.run_id, name)]
        for name in ("val_loss", *(f"seed_{seed}/val_loss" for seed in SEEDS))
    }
    own = np.array([curves[f"seed_{seed}/val_loss"] for seed in SEEDS])
    assert own.shape == (3, 4)
    np.testing.assert_allclose(curves["val_loss"], own.mean(axis=0), rtol=1e-12)


def test_a_trial_of_several_seeds_trains_as_many_ensembles_of_seeds_that_no_other_has() -> None:
    trial, value = only_trial("hpo.repeats=2")
    seeds = {name.partition("/")[0] for name in trial.data.metrics if name.endswith("/val_loss")}
    assert seeds == {"seed_42", "seed_43", "seed_44", "seed_45"}
    values = [only_trial(f"seed={seed}", f"hpo.study_name=of-{seed}")[1] for seed in (42, 44)]
    assert value == pytest.approx(np.mean(values), rel=1e-4)


def only_trial(*words: str) -> tuple[Run, float]:
    """Run a study of one trial on arrays; return the trial's run and its value."""
    config = compose_config([*SMALL, "training.ensemble=2", "hpo.reseeds=0", "hpo.num_trials=1", *words])
    config.hpo.param_space = {"learning_rate": [0.01]}
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.normal(size=300)
    result = run_hpo_study(config, X[:200], y[:200], X[200:], y[200:], ExperimentOrganizer(config))
    (trial,) = MlflowClient().search_runs(["1"], f"tags.`mlflow.parentRunId` = '{result.parent_id}'")
    return trial, float(result.best[0].value or math.nan)


def test_each_network_ends_where_it_is_best_and_one_that_forecasts_a_constant_costs_no_run() -> None:
    words = ("training.epochs=12", "training.early_stopping=2", "training.learning_rate=0.03")
    run = trained("training.ensemble=3", *words)
    best = [trained(*words, f"seed={seed}").metrics["best_epoch"] for seed in SEEDS]
    assert [run.metrics[f"seed_{seed}/best_epoch"] for seed in SEEDS] == best and len(set(best)) > 1
    assert run.metrics["best_epoch"] == pytest.approx(np.mean(best))
    dead = ("model.hidden_layers=[1,1]", "training.ensemble=4", *KINDS["folds"], "evaluation.folds=3", "seed=20")
    assert any(name.endswith("/val_ic") for name in map(str, trained(*dead, "training.epochs=3").tags))


def test_a_network_that_diverges_is_named_by_its_seed() -> None:
    with pytest.raises(DivergedError, match="With the seed 42: Training diverged"):
        trained("training.ensemble=2", "training.learning_rate=10", "training.optimizer=SGD", "training.epochs=50")


@pytest.mark.parametrize("given", ["0", "1.5", "two"])
def test_how_many_networks_is_a_whole_number_of_at_least_one(given: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.ensemble"):
        compose_config([f"training.ensemble={given}"])


def test_the_report_lays_each_network_beside_their_mean(tmp_path: Path) -> None:
    run = trained("training.ensemble=3")
    page = Path(ExperimentReporter().generate_training_report(run.run_id, tmp_path / "report.html"))
    text = page.read_text(encoding="utf-8")
    assert "Ensemble: each network by itself" in text
    assert [f"seed {seed}" in text for seed in (*SEEDS, 45)] == [True, True, True, False]
