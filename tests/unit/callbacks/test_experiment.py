"""What the callback of this package's own app hands over to the sweeper: what it has checked, and nothing older."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

import tradingbot_exp.config.schema  # noqa: F401 - registers the groups
from tradingbot_exp.callbacks import ExperimentCallback
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.experiment.handover import handed_over


def test_a_sweep_takes_no_configuration_that_an_earlier_command_of_the_process_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(conf_dir()), job_name="train"):
        load = GlobalHydra.instance().config_loader().load_configuration
        plain, swept = (
            load("config", ["data=synthetic", *words], RunMode.MULTIRUN)
            for words in (["training.epochs=7"], ["training.batch_size=16,32"])
        )
        ExperimentCallback().on_multirun_start(plain)
        checked = handed_over()
        assert checked is not None and checked.training.epochs == 7
        ExperimentCallback().on_multirun_start(plain)  # and its sweeper fails before it asks
        ExperimentCallback().on_multirun_start(swept)
        assert handed_over() is None
