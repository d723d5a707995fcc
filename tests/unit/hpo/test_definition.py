"""What defines a study: its source but not what only shows or records, and a list of one as the one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tradingbot_exp
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.definition import define
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.storage import create_or_load, open_storage
from tradingbot_exp.hpo.study import open_study
from tradingbot_exp.runtime.package import code_sha256

PACKAGE = Path(tradingbot_exp.__file__).parent


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("train.py", True),
        ("experiment/steps.py", True),
        ("config/finalize.py", True),
        ("training/loop.py", True),
        ("hpo/trial_run.py", True),
        ("brand_new.py", True),
        ("reporting/brand_new.py", False),
        ("tracking/writing/run.py", False),
        ("hpo/results/display.py", False),
        ("hpo/verdict/judge.py", False),
        ("evaluation/significance/verdict.py", False),
        ("plots/style.py", False),
        ("recorded/predict.py", False),
        ("cli/main.py", False),
        ("callbacks/hydra_job.py", False),
    ],
)
def test_source_that_may_decide_a_number_defines_a_study(tmp_path: Path, file: str, matters: bool) -> None:
    copy = tmp_path / "tradingbot_exp"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    before = code_sha256.__wrapped__(copy)
    assert before == code_sha256.__wrapped__(PACKAGE)
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write("\n# changed\n")
    assert (code_sha256.__wrapped__(copy) != before) == matters


def test_a_list_of_one_metric_defines_the_same_study_as_the_metric() -> None:
    config = Config()
    plain = define(config, {}, "data")
    config.hpo.metric, config.hpo.direction = ["val_loss"], ["minimize"]
    assert define(config, {}, "data") == plain
    config.hpo.direction = ["maximize"]
    assert define(config, {}, "data") != plain
    config.hpo.metric, config.hpo.direction = ["val_loss", "val_ic"], ["minimize", "maximize"]
    assert define(config, {}, "data")["hpo.metric"] == ["val_loss", "val_ic"]


@pytest.mark.parametrize("folder", ["../../out", "/elsewhere/out", "linked/out", ".."])
def test_the_folder_of_a_study_is_one_of_multirun_whatever_its_storage_says(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multirun").mkdir()
    (tmp_path / "multirun" / "linked").symlink_to(tmp_path.parent)
    prepared, _ = create_or_load(open_storage(None, tmp_path)[0], "theirs", ["minimize"])
    prepared.set_user_attr("folder", folder)
    config = compose_config(["hpo.study_name=theirs", "data=synthetic"])
    space = SearchSpace.parse(config.hpo.param_space)
    prepared.set_user_attr("definition", define(config, space.describe(), load_data(config).fingerprint))
    with pytest.raises(TrackingError, match="leads out of"):
        open_study(config, space, [])
