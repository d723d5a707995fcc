"""A command imports what it needs: help and errors no heavy library, a run and a study no statistics of SciPy's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import python

LOADED = """
import atexit, json, sys
atexit.register(lambda: print("LOADED", json.dumps(sorted(sys.modules))))
if sys.argv[1:] == ["mlflow"]:
    import mlflow
else:
    from tradingbot_exp.train import main
    main()
"""
HEAVY = {"torch", "mlflow", "optuna", "pandas", "scipy", "sklearn", "skops"}
SMALL = ("data=synthetic", "data.synthetic.bars=400", "training.epochs=1", "tracking.report=false")


def loaded(folder: Path, *arguments: str, status: int = 0) -> set[str]:
    done = python(folder, "-c", LOADED, *arguments, fresh=True)
    assert done.status == status, done.err
    return set(json.loads(done.out.rpartition("LOADED ")[2]))


@pytest.mark.parametrize(
    ("overrides", "status"),
    [(["--help"], 0), (["--cfg", "job"], 0), (["training.epochs=0"], 1), (["model.learnin_rate=1"], 1)],
)
def test_help_and_config_errors_load_no_heavy_library(tmp_path: Path, overrides: list[str], status: int) -> None:
    found = loaded(tmp_path, *overrides, status=status)
    assert "tradingbot_exp.train" in found and found & HEAVY == set()


def test_a_run_and_a_study_load_no_scikit_learn_and_of_scipy_what_mlflow_loads(
    store_template: Path, tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(store_template.read_bytes())
    mlflow = loaded(tmp_path, "mlflow")  # mlflow.models.utils imports scipy.sparse
    run = loaded(tmp_path, *SMALL)
    study = loaded(tmp_path, "--multirun", *SMALL, "hpo.num_trials=2")
    for modules in (run, study):
        assert "torch" in modules and modules & {"sklearn", "skops"} == set()
    assert [name for name in run - mlflow if name.startswith("scipy")] == []
    # The verdict takes Student's t from there; the statistics, which take seven times as long to import, from nowhere.
    assert {name.split(".")[1] for name in study - mlflow if name.startswith("scipy.")} <= {"special", "_lib"}
