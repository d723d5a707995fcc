"""The trials of a study as Hydra's jobs: configured as if Hydra had composed them, and shown to callbacks of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

import tradingbot_exp.config.schema  # noqa: F401 - registers the groups
from hydra_plugins.tradingbot_exp._jobs import HydraJobs, PreparedLoader, TrialConfigs, launch_words_of, words_of
from hydra_plugins.tradingbot_exp.stacked import StackedLauncher
from tradingbot_exp.callbacks import ExperimentCallback
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.trial_spec import TrialSpec

FIXED = ["training.epochs=4", "+model.options.size=1"]


@pytest.fixture(scope="module")
def hydra() -> Iterator[tuple[Any, DictConfig]]:
    """Hydra's loader, and the configuration of a sweep."""
    with initialize_config_dir(str(conf_dir()), job_name="train"):
        loader = GlobalHydra.instance().config_loader()
        words = [*FIXED, "training.batch_size=16,32", "hydra.sweep.dir=abc"]
        yield loader, loader.load_configuration("config", words, RunMode.MULTIRUN)


def spec(number: int, **values: Any) -> TrialSpec:
    rate = 0.001 * (number + 1)
    tried = {"model.learning_rate": rate, "training.learning_rate": rate, **values}
    return TrialSpec("a study's \\ 'name'", number, f"run{number}", "parent", rivals=[[1.0, 2.0]], values=tried)


SPECS = [
    spec(0),
    spec(1, **{"training.batch_size": 16, "model.hidden_layers": [64, 32], "model.dropout": 0.1}),
    spec(2, **{"training.early_stopping": None, "training.optimizer": "SGD", "data.features": ["ret_1", "clv"]}),
    spec(3, **{"training.early_stopping": False, "model.options.size": "it's {one}", "evaluation.cost_bps": 2}),
]


def container(config: DictConfig) -> Any:
    return OmegaConf.to_container(config)


@pytest.mark.parametrize("number", range(len(SPECS)))
def test_a_trials_configuration_is_what_hydra_would_compose(number: int, hydra: tuple[Any, DictConfig]) -> None:
    loader, master = hydra
    configs, prepared = TrialConfigs(master, FIXED), PreparedLoader(loader)
    trial = SPECS[number]
    overrides = [*FIXED, *words_of(trial), *launch_words_of(trial)]
    right = loader.load_sweep_config(master, overrides)
    prepared.prepare(configs, [(overrides, trial)])
    found = prepared.load_sweep_config(master, overrides)
    for config in (right, found):
        with open_dict(config):  # as launchers do
            config.hydra.job.id, config.hydra.job.num = str(number), number
    assert container(found) == container(right)
    assert OmegaConf.is_struct(found) and OmegaConf.is_struct(right)
    with open_dict(found):  # a job may do with its configuration what it likes
        found.seed = 1000
    assert configs.own(trial).seed == 42
    other = [*FIXED, "seed=7"]
    assert prepared.load_sweep_config(master, other).seed == 7


class Witness(Callback):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.started: list[DictConfig] = []
        self.ended: list[tuple[DictConfig, JobReturn]] = []
        self.folders: list[str] = []
        self.current: list[int] = []

    def on_job_start(self, config: DictConfig, *, task_function: Any, **kwargs: Any) -> None:
        self.started.append(config)
        self.folders.append(HydraConfig.get().runtime.output_dir)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.ended.append((config, job_return))
        self.current.append(HydraConfig.get().job.num)


def test_callbacks_of_others_see_each_trial_start_and_end(hydra: tuple[Any, DictConfig]) -> None:
    loader, master = hydra
    callbacks, witness = Callbacks(), Witness()
    callbacks.callbacks = [ExperimentCallback(), witness]  # ours would open runs of their own
    shown = HydraJobs(TrialConfigs(master, FIXED), HydraContext(loader, callbacks, []), lambda config: None)
    before = HydraConfig.instance().cfg
    try:
        for trial in SPECS[:3]:
            shown.start(trial)
        for trial, outcome in zip(SPECS, ([0.5], ConfigError("odd"), [0.25]), strict=False):
            shown.end(trial, outcome)
    finally:
        HydraConfig.instance().cfg = before
    assert [config.hydra.job.num for config in witness.started] == [0, 1, 2] == witness.current
    assert [config.training.learning_rate for config in witness.started] == [0.001, 0.002, 0.003]
    assert [folder.rpartition("/")[2] for folder in witness.folders] == ["trial-0000", "trial-0001", "trial-0002"]
    for trial, started, (config, job) in zip(SPECS, witness.started, witness.ended, strict=False):
        assert config is started and job.hydra_cfg == config and job.hydra_cfg.hydra.job.num == trial.number
        assert job.cfg is not None and "hydra" not in job.cfg and job.cfg.model == config.model
        assert job.overrides == [*FIXED, *words_of(trial)] and job.working_dir and job.task_name == "train"
    assert [job.status for _, job in witness.ended] == [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]
    assert witness.ended[2][1].return_value == [0.25]
    with pytest.raises(ConfigError, match="odd"):
        _ = witness.ended[1][1].return_value


def test_a_launcher_of_no_width_is_refused_and_what_keeps_trials_from_one_process_is_said(
    hydra: tuple[Any, DictConfig],
) -> None:
    loader, master = hydra
    context = HydraContext(loader, Callbacks(), [])
    launcher = StackedLauncher(24)
    launcher.setup(hydra_context=context, task_function=lambda config: None, config=master)
    assert "only this package's own jobs" in launcher.why_not_at_once()
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.width must be 1 or more trials; got 0"):
        StackedLauncher(0).setup(hydra_context=context, task_function=lambda config: None, config=master)


def test_trials_are_stacked_unless_another_launcher_is_named(hydra: tuple[Any, DictConfig]) -> None:
    loader, master = hydra
    assert master.hydra.launcher._target_.endswith(".StackedLauncher") and master.hydra.launcher.width == 24
    for given, name in (
        (["hydra/launcher=basic"], "Basic"),
        (["hydra/launcher=basic", "hydra/launcher=stacked"], "Stacked"),
    ):
        other = loader.load_configuration("config", given, RunMode.MULTIRUN)
        assert other.hydra.launcher._target_.endswith(f".{name}Launcher")
