"""A store that version 0.1.0 made is read, evaluated and predicted with; a study that it began is not resumed."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from support import REPOSITORY, python, train

import tradingbot_exp
from tradingbot_exp import load_run

# Made by the wheel of 0.1.0, as it was before the layers: a run, a study of three trials, and the study's journal.
KEPT = REPOSITORY / "tests" / "data" / "store_0.1.0.tar.gz"
RUN, STUDY, WINNER = "b6588ce5e1eb", "42deb7303aa8", "06336597f298"
BARS = Path(tradingbot_exp.__file__).parent / "data" / "bars" / "ibm.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The launch directory in which the old version worked, as if it had been this one."""
    with tarfile.open(KEPT) as kept:
        for member in kept:
            stream = kept.extractfile(member)
            assert stream is not None
            content = stream.read().replace(b"@LAUNCH@", str(tmp_path).encode())
            if member.name == "mlflow.sql":
                database = sqlite3.connect(tmp_path / "mlflow.db")
                database.executescript(io.TextIOWrapper(io.BytesIO(content)).read())
                database.close()
            else:
                (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / member.name).write_bytes(content)
    shutil.copy(BARS, tmp_path / "bars.csv")
    return tmp_path


def test_its_runs_are_evaluated_and_predicted_with_to_the_same_numbers(folder: Path) -> None:
    evaluated = python(folder, "-m", "tradingbot_exp", "evaluate", RUN, "--json", "--yes")
    assert evaluated.status == 0, evaluated.err
    metrics = json.loads(evaluated.out)["metrics"]
    # As 0.1.0 itself evaluated the run.
    assert metrics["test_mse"] == pytest.approx(0.02913081364165541, rel=1e-6)
    assert metrics["test_ic"] == pytest.approx(0.04472470682359359, rel=1e-6)
    assert metrics["test_sharpe"] == pytest.approx(1.358112855768295, rel=1e-6)
    study = load_run(STUDY, folder)
    assert study.best.run_id.startswith(WINNER) and study.tags["study.name"] == "old-study"
    predicted = python(folder, "-m", "tradingbot_exp", "predict", STUDY, "--data", "bars.csv")
    assert predicted.status == 0, predicted.err
    for frame, last in (
        (pd.read_csv(io.StringIO(predicted.out)), -0.00025147944688796997),
        (load_run(RUN, folder).predict(folder / "bars.csv"), 0.062396302819252014),
    ):
        assert len(frame) == 3237 and frame["forecast"].iloc[-1] == pytest.approx(last, rel=1e-5)


def test_its_runs_are_reported_on_and_its_model_is_loaded_by_mlflow(folder: Path) -> None:
    for kind, run in (("training", RUN), ("hpo", STUDY)):
        reported = python(folder, "-m", "tradingbot_exp", "report", kind, run)
        assert reported.status == 0, reported.err
        assert (folder / reported.out.strip()).stat().st_size > 1_000_000
    code = (
        "import mlflow, numpy as np, sys; model = mlflow.pyfunc.load_model(sys.argv[1]); "
        "print(model.predict(model.metadata.load_input_example(sys.argv[1])).shape[0])"
    )
    (model,) = (folder / "mlruns").glob(f"*/{RUN}*/artifacts/model")
    served = python(folder, "-c", code, str(model))
    assert served.status == 0 and int(served.out) == 5, served.err


def test_a_study_that_it_began_is_refused_since_the_code_is_another(folder: Path) -> None:
    overrides = [
        *("training.epochs=2", "training.progress=off", "tracking.report=false", "hpo.num_trials=3"),
        *("hpo.reseeds=1", "+hpo.param_space.batch_size=[64,128]", "hpo.study_name=old-study", "hpo.sampler=random"),
    ]
    before = (folder / "optuna.journal").read_bytes()
    done = train(folder, "--multirun", *overrides)
    assert done.status == 1
    assert "The study old-study is there already, and is another one:" in done.err
    assert "the source of tradingbot_exp (code.sha256): 6225626da91d before" in done.err
    assert (folder / "optuna.journal").read_bytes().startswith(before)
    assert len(done.runs()) == 5
