"""A batch's configurations, composed once, are what composing each of them would have given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from hydra_plugins.tradingbot_exp._composing import ReusingLoader, compose
from hydra_plugins.tradingbot_exp.sweeper import StudySweeper
from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.trial_spec import TICKET_VARIABLE, Ticket


@pytest.fixture(scope="module")
def hydra() -> Iterator[tuple[Any, DictConfig]]:
    """Hydra's loader, and the configuration of a sweep."""
    with initialize_config_dir(str(conf_dir()), job_name="train"):
        loader = GlobalHydra.instance().config_loader()
        yield loader, loader.load_configuration("config", ["training.epochs=3"], RunMode.MULTIRUN)


def study_job(number: int, *values: str) -> list[str]:
    ticket = Ticket("a study's \\ 'name'", number, f"run{number}", "parent", best=0.1 * number, front=[[1.0, 2.0]])
    quoted = ticket.dumps().replace("\\'", "\\\\\\'").replace("'", "\\'")
    own = (f"hydra.sweep.subdir=trial-{number:04d}", "hydra.output_subdir=null")
    return ["training.epochs=4", *values, *own, f"+hydra.job.env_set.{TICKET_VARIABLE}='{quoted}'"]


def rates(number: int) -> tuple[str, str]:
    return f"model.learning_rate=0.00{number}", f"training.learning_rate=0.00{number}"


PLAIN: dict[str, list[list[str]]] = {
    "learning rates": [study_job(n, *rates(n)) for n in (1, 2, 3)],
    "several": [
        study_job(n, *rates(n), f"training.batch_size={16 * n}", f"model.hidden_layers=[{n},4]", f"model.dropout=0.{n}")
        for n in (1, 2)
    ],
    "one that only some change": [
        study_job(n, *rates(n), f"training.batch_size={size}") for n, size in ((1, 16), (2, 32), (3, 16))
    ],
    "texts": [study_job(n, f"training.optimizer={name}") for n, name in enumerate(("Adam", "'SGD'"))],
    "off": [study_job(n, f"training.early_stopping={value}") for n, value in enumerate(("3", "off", "null", "false"))],
    "seeds": [[f"seed={seed}"] for seed in (1, 2)],
    "whole numbers": [["evaluation.cost_bps=1"], ["evaluation.cost_bps=2.5"]],
}
FULL: dict[str, list[list[str]]] = {
    "a group": [["model=mlp"], ["model=linear"]],
    "other keys": [["seed=1"], ["training.epochs=2"]],
    "an interpolation": [["training.batch_size=${seed}"], ["training.batch_size=16"]],
    "one learning rate": [["model.learning_rate=0.1"], ["model.learning_rate=0.2"]],
    "what refers to another": [["training.batch_size=${seed}", f"seed={seed}"] for seed in (16, 32)],
}


@pytest.mark.parametrize(
    ("jobs", "shares"),
    [*((jobs, True) for jobs in PLAIN.values()), *((jobs, False) for jobs in FULL.values())],
    ids=[*PLAIN, *FULL],
)
def test_each_configuration_is_as_if_composed_by_itself(
    jobs: list[list[str]], shares: bool, hydra: tuple[Any, DictConfig]
) -> None:
    loader, master = hydra
    reusing: Any = ReusingLoader(loader)
    compose(reusing, master, jobs)  # a batch before this one
    composed = compose(reusing, master, jobs)
    assert len({id(job._base) for job in composed}) == (1 if shares else len(jobs))
    for number, (job, overrides) in enumerate(zip(composed, jobs, strict=True), start=7):
        right = loader.load_sweep_config(master, overrides)
        with open_dict(right):
            right.hydra.job.id, right.hydra.job.num = str(number), number
        expected = OmegaConf.to_container(right)
        for shared in (False, True):
            found: Any = OmegaConf.to_container(job.config(number, shared=shared))
            assert found == expected
        task = [word for word in overrides if "hydra." not in word]
        assert asdict(job.finalized()) == asdict(finalize(right, task))
        assert (job.ticket is None) == (len(overrides) == 1 or "seed" in overrides[0])
        if job.ticket is not None:
            assert job.ticket.run_id in ("run0", "run1", "run2", "run3") and job.ticket.front == [[1.0, 2.0]]


@pytest.mark.parametrize("jobs", [*PLAIN.values(), *FULL.values()], ids=[*PLAIN, *FULL])
def test_jobs_one_after_another_have_what_composing_each_gives(
    jobs: list[list[str]], hydra: tuple[Any, DictConfig]
) -> None:
    loader, master = hydra
    reusing = ReusingLoader(loader)
    for number, overrides in enumerate([*jobs, jobs[0]]):
        right, found = (each.load_sweep_config(master, overrides) for each in (loader, reusing))
        for config in (right, found):
            with open_dict(config):
                config.hydra.job.id, config.hydra.job.num = str(number), number
        assert OmegaConf.to_container(found) == OmegaConf.to_container(right)
        assert OmegaConf.is_struct(found) == OmegaConf.is_struct(right)
        assert OmegaConf.is_readonly(found.hydra) == OmegaConf.is_readonly(right.hydra)
        with open_dict(found):  # a job may do with its configuration what it likes
            found.seed = found.training.batch_size = 1000 + number


def test_jobs_that_differ_in_plain_values_are_composed_once(hydra: tuple[Any, DictConfig]) -> None:
    loader, master = hydra
    asked = []

    class Counting:
        def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
            asked.append(sweep_overrides)
            return loader.load_sweep_config(master_config, sweep_overrides)

    counting: Any = Counting()
    reusing: Any = ReusingLoader(counting)
    for overrides in PLAIN["learning rates"]:
        reusing.load_sweep_config(master, overrides)
    compose(reusing, master, PLAIN["learning rates"][1:])
    assert asked == PLAIN["learning rates"][:1]


@pytest.mark.parametrize(("launcher", "reuses"), [("stacked", True), ("basic", True), ("joblib", False)])
def test_a_launcher_of_this_process_composes_the_batches_of_a_study_once(
    launcher: str, reuses: bool, hydra: tuple[Any, DictConfig]
) -> None:
    loader, _ = hydra
    config = loader.load_configuration("config", [f"hydra/launcher={launcher}"], RunMode.MULTIRUN)
    context = HydraContext(loader, Callbacks(), [])
    sweeper = StudySweeper()
    sweeper.setup(hydra_context=context, task_function=lambda config: None, config=config)
    made: Any = sweeper._study.launcher
    held: Any = made._stack._context if launcher == "stacked" else made.hydra_context
    assert isinstance(held.config_loader, ReusingLoader) == reuses


def test_a_wrong_value_fails_its_own_job_alone(hydra: tuple[Any, DictConfig]) -> None:
    jobs = [study_job(n, f"model.dropout={value}") for n, value in enumerate((1.5, 0.1, 2.5, 0.2))]
    composed = compose(*hydra, jobs)
    for job, dropout in zip(composed, (None, 0.1, None, 0.2), strict=True):
        job.config(0, shared=True)
        if dropout is None:
            with pytest.raises(ConfigError, match=r"model\.dropout"):
                job.finalized()
        else:
            assert job.finalized().model.dropout == dropout


def test_trials_are_stacked_unless_another_launcher_is_named(hydra: tuple[Any, DictConfig]) -> None:
    loader, master = hydra
    assert master.hydra.launcher._target_.endswith(".StackedLauncher") and master.hydra.launcher.width == 24
    for given, name in (
        (["hydra/launcher=basic"], "Basic"),
        (["hydra/launcher=basic", "hydra/launcher=stacked"], "Stacked"),
    ):
        other = loader.load_configuration("config", given, RunMode.MULTIRUN)
        assert other.hydra.launcher._target_.endswith(f".{name}Launcher")
