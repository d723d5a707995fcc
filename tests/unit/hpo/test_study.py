"""A study that is opened while its creator is still at it, or after that came to nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import optuna
import pytest
from test_recovery import DEAD, other_process
from test_results import config

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.schema import Config
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.definition import define
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.storage import create_or_load, open_storage
from tradingbot_exp.hpo.study import open_study
from tradingbot_exp.runtime.process import identity

__all__ = ["config", "other_process"]  # fixtures


def begun(config: Config, owner: dict[str, str]) -> optuna.Study:
    """Leave a study as its creator would that has just signed it."""
    config.hpo.study_name = "shared"
    storage, _ = open_storage(None, launch_dir())
    study, _ = create_or_load(storage, "shared", ["minimize"])
    study.set_user_attr("owner", owner)
    return study


def test_a_second_process_takes_the_folder_that_the_creator_of_the_study_chooses(
    config: Config,
    other_process: dict[str, str],
) -> None:
    first = begun(config, other_process)
    space = SearchSpace.parse(config.hpo.param_space)
    definition = define(config, space.describe(), load_data(config).fingerprint)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(open_study, config, space)
        sleep(0.3)
        first.set_user_attr("folder", "shared.2")  # "shared" has been another study's
        sleep(0.3)
        first.set_user_attr("definition", definition)
        assert second.result(30).folder == launch_dir() / "multirun" / "shared.2"


@pytest.mark.parametrize("owner", [DEAD, identity()], ids=["dead", "an earlier try of this process"])
def test_a_study_that_nobody_goes_on_with_gets_a_folder_that_nothing_has_written_into(
    config: Config,
    owner: dict[str, str],
) -> None:
    begun(config, owner)
    (launch_dir() / "multirun" / "shared").mkdir(parents=True)
    study = open_study(config, SearchSpace.parse(config.hpo.param_space))
    assert study.folder.name == "shared.2" == study.optuna.user_attrs["folder"]
    assert study.optuna.user_attrs["definition"] == study.definition
