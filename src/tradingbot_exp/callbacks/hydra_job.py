"""What Hydra says about a job: its number, parent and trial, how it ended, and the files that it left about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from tradingbot_exp.config.own_conf import task_overrides
from tradingbot_exp.config.redaction import mask_secrets
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.trial_spec import TRIAL_VARIABLE, TrialSpec

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from hydra.core.utils import JobReturn


SWEEP_FILE = "multirun.yaml"
"""What Hydra writes into the folder of a sweep."""
# A sweep's parent run reaches every job, on any machine, through this variable in `hydra.job.env_set`.
PARENT_RUN_VARIABLE = "TRADINGBOT_PARENT_RUN_ID"


def first_job(config: DictConfig) -> DictConfig:
    """Compose what the first job of a plain sweep will see; a configuration without sweeps stays as it is."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(loader).parse_overrides(task_overrides(config.hydra))
    swept = [override for override in parsed if override.is_sweep_override() and override.is_discrete_sweep()]
    if not swept:
        return config
    first = [
        f"{override.get_key_element()}={_first_value(override)}" if override in swept else str(override.input_line)
        for override in parsed
        if override in swept or not override.is_sweep_override()
    ]
    return loader.load_sweep_config(config, first)


def _first_value(override: Override) -> str:
    try:
        for value in override.sweep_string_iterator():
            return str(value)
    except ValueError as error:  # a step of 0
        raise ConfigError(
            f"{override.input_line} cannot be a sweep: {error}. Write KEY=range(1,9) or KEY=A,B."
        ) from error
    raise ConfigError(
        f"{override.input_line} names no value: range(1,3) is 1 and 2, the end left out; glob(...) chooses among the "
        "files of a group such as model. Give the values themselves, as in KEY=A,B."
    )


def job_key(config: DictConfig) -> str:
    """Name a job among those of its process; a single run's has no number."""
    return str(OmegaConf.select(config, "hydra.job.num", default=""))


def parent_run(config: DictConfig) -> str | None:
    """Return the id of the sweep's parent run, or None in a single run."""
    parent: str | None = OmegaConf.select(config, f"hydra.job.env_set.{PARENT_RUN_VARIABLE}", default=None)
    return parent


def spec_of(config: DictConfig) -> TrialSpec | None:
    """Return what a study tells the job of a trial, or None outside a study."""
    text = OmegaConf.select(config, f"hydra.job.env_set.{TRIAL_VARIABLE}", default=None)
    return None if text is None else TrialSpec.loads(text)


def error_of(job_return: JobReturn) -> BaseException | None:
    """Return what a job failed with, or None; reading `return_value` of a failed job would raise it."""
    from hydra.core.utils import JobStatus

    if job_return.status is not JobStatus.FAILED:
        return None
    outcome = job_return._return_value
    return outcome if isinstance(outcome, BaseException) else RuntimeError("the job failed without saying why")


def as_number(value: Any) -> float | None:
    """Return a job's result as a number, or None if it is none."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def start_ray(config: DictConfig) -> None:
    """Start Ray, for its launcher, and take SIGTERM back: Ray's own handler ends the process with runs open."""
    import importlib
    import signal

    launcher = config.hydra.launcher
    if not str(launcher._target_).endswith(".RayLauncher"):
        return
    ray = importlib.import_module("ray")  # of an extra: a type checker need not know it
    before = signal.getsignal(signal.SIGTERM)
    if not ray.is_initialized():
        settings: Any = OmegaConf.to_container(launcher.ray.init, resolve=True)
        ray.init(**settings)
    if before is not None:
        signal.signal(signal.SIGTERM, before)


def task_name(config: DictConfig) -> str:
    """Name a sweep by its app and the time."""
    import time

    return f"{config.hydra.job.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def mask_saved_config(config: DictConfig) -> None:
    """Mask credentials in the files that Hydra has just written about the job."""
    folder = Path(config.hydra.runtime.output_dir)
    if config.hydra.output_subdir is not None:
        own = folder / config.hydra.output_subdir
        mask_files(own / "config.yaml", own / "hydra.yaml", own / "overrides.yaml")
    mask_files(folder.parent / SWEEP_FILE)


def mask_files(*files: Path) -> None:
    """Mask secrets in files that Hydra has written; one that is not there is none."""
    for file in filter(Path.is_file, files):
        tree = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        masked = mask_secrets(tree)
        if masked != tree:
            file.write_text(OmegaConf.to_yaml(OmegaConf.create(masked)), encoding="utf-8")
