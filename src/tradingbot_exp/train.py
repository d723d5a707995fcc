"""The command that trains: ``python -m tradingbot_exp.train [KEY=VALUE ...]``, also as ``tradingbot-train``.

In Python, the module itself can be called, ``from tradingbot_exp import train``: see `tradingbot_exp.api.notebook`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tradingbot_exp.cli.failure import in_one_line
from tradingbot_exp.config.explain import explain, refuse_option_spelling
from tradingbot_exp.config.help import commented_help
from tradingbot_exp.config.own_conf import search_path, trusted_plugins
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import Refusal, Terminated, TradingBotError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.collector import collect_seldom

if TYPE_CHECKING:
    from tradingbot_exp.recorded.loaded import LoadedRun

# What configuration files may instantiate; anything else is refused. Packages named in `plugins` are added.
TRUSTED = ["tradingbot_exp.*", "hydra_plugins.*", "optuna.*", "logging.*"]
FULL_ERROR = "HYDRA_FULL_ERROR"


def _in_steps(function: Callable[[DictConfig], object]) -> Callable[[DictConfig], object]:
    """Mark a task that a launcher may take apart: what it does is `experiment.prepare`, `fit` and `finish`."""
    function.tradingbot_in_steps = True  # type: ignore[attr-defined]
    return function


@hydra.main(config_path=str(conf_dir()), config_name="config", execution_whitelist=TRUSTED)
@_in_steps
def job(config: DictConfig) -> object:
    """Train once, with the configuration that Hydra composed; give the value that a search looks at."""
    from hydra.core.hydra_config import HydraConfig

    from tradingbot_exp.api.job import run_job

    hydra_config = HydraConfig.get()
    overrides = [*search_path(hydra_config), *hydra_config.overrides.task]
    return run_job(config, overrides, Path(hydra_config.runtime.output_dir))


def main() -> None:
    """Run the command line; end the process with status 0, 1 (an error) or 128 + signal (interrupted)."""
    collect_seldom()
    status = run(sys.argv[1:])
    interrupt.uninstall()
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run `job` under Hydra and turn whatever goes wrong into one message on standard error.

    Returns
    -------
    int
        The exit status.
    """
    wants_traceback = os.environ.get(FULL_ERROR) == "1"
    # Hydra prints and exits by itself unless told to raise; the message is ours to write.
    os.environ[FULL_ERROR] = "1"
    interrupt.install()
    started = time.time()
    try:
        refuse_option_spelling(arguments)
        if {"--help", "-h"} & set(arguments):
            sys.stdout.write(commented_help(job))
            return 0
        TRUSTED.extend(trusted_plugins(arguments))
        job()
    except KeyboardInterrupt as stopped:
        _say("Interrupted. A run that was open is closed as KILLED, with its history so far.")
        _say_how_to_go_on()
        _unsent_status(started)
        # A launcher may pass SIGTERM on as a plain KeyboardInterrupt.
        return 128 + (interrupt.received() or (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT))
    except Refusal as refusal:
        return _fail(refusal.error, wants_traceback)
    except Exception as error:
        return _fail(error, wants_traceback)
    return _unsent_status(started)


def _unsent_status(started: float) -> int:
    """Return 1, with a message, if records of this command wait on disk and the user did not choose that."""
    unsent = sys.modules.get("tradingbot_exp.tracking.writing.outbox.unsent")
    if unsent is None:
        return 0
    waiting = [folder for folder in unsent.unsent_runs(Path.cwd(), since=started - 1) if unsent.must_fail(folder)]
    if not waiting:
        return 0
    _say(f"Error: records of {len(waiting)} run(s) could not be sent to MLflow and wait on disk, in")
    for folder in waiting:
        _say(f"  {folder}")
    _say(f"Send them, once MLflow can take them, with: {unsent.SEND_COMMAND}")
    return 1


def _message(error: Exception) -> str:
    """Say what went wrong, in as few words as the error allows."""
    if isinstance(error, TradingBotError):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error)
    return in_one_line(error)


def _say_how_to_go_on() -> None:
    """Name the command that goes on with a run that did not finish and has a checkpoint."""
    checkpoints = sys.modules.get("tradingbot_exp.tracking.writing.checkpoints")
    for command in [] if checkpoints is None else checkpoints.commands():
        _say(f"Go on with it from its last checkpoint: {command}")


def _fail(error: Exception, wants_traceback: bool) -> int:
    if wants_traceback:
        _say(redact("".join(traceback.format_exception(error))))
    _say(f"Error: {redact(_message(error))}")
    expected = isinstance(error, TradingBotError | HydraException | OmegaConfBaseException | OSError)
    if not expected and not wants_traceback:
        _say(f"Set {FULL_ERROR}=1 for the whole traceback.")
    if not isinstance(error, TradingBotError):  # which would come again
        _say_how_to_go_on()
    return 1


def _say(text: str) -> None:
    sys.stderr.write(text.rstrip("\n") + "\n")


class _CallableModule(ModuleType):
    """Makes `tradingbot_exp.train` the function that it is documented as, also once this module is imported."""

    def __call__(self, overrides: Sequence[str] = ()) -> LoadedRun:
        """Train once, in this process: `tradingbot_exp.api.notebook.train`."""
        from tradingbot_exp.api.notebook import train

        return train(overrides)


if __name__ == "__main__":
    main()
else:
    sys.modules[__name__].__class__ = _CallableModule
