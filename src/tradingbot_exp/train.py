"""The command that trains: ``python -m tradingbot_exp.train [KEY=VALUE ...]``, also as ``tradingbot-train``.

In Python, the module itself can be called, ``from tradingbot_exp import train``: see `tradingbot_exp.api.notebook`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from tradingbot_exp.cli.failure import FULL_ERROR, in_one_line, tell
from tradingbot_exp.config.explain import explain, refuse_option_spelling
from tradingbot_exp.config.help import commented_help
from tradingbot_exp.config.own_conf import refuse_irregular, search_path, task_overrides, trusted_plugins
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.yaml_file import composing_error
from tradingbot_exp.errors import Refusal, Terminated, TradingBotError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.collector import collect_seldom
from tradingbot_exp.runtime.text import plural
from tradingbot_exp.terminal.output import say, tame_warnings

if TYPE_CHECKING:
    from tradingbot_exp.recorded.loaded import LoadedRun

# What configuration files may instantiate; anything else is refused. Packages named in `plugins` are added.
TRUSTED = ["tradingbot_exp.*", "hydra_plugins.*", "optuna.*", "logging.*"]


def _in_steps(function: Callable[[DictConfig], object]) -> Callable[[DictConfig], object]:
    """Mark a task in whose place a launcher may run trials itself: see `StackedLauncher.why_not_at_once`."""
    function.tradingbot_in_steps = True  # type: ignore[attr-defined]
    return function


@hydra.main(config_path=str(conf_dir()), config_name="config", execution_whitelist=TRUSTED)
@_in_steps
def job(config: DictConfig) -> object:
    """Train once, with the configuration that Hydra composed; give the value that a search looks at."""
    from hydra.core.hydra_config import HydraConfig

    from tradingbot_exp.api.job import run_job

    hydra_config = HydraConfig.get()
    overrides = [*search_path(hydra_config), *task_overrides(hydra_config)]
    return run_job(config, overrides, Path(hydra_config.runtime.output_dir))


def main() -> None:
    """Run the command line; end the process with status 0, 1 (an error) or 128 + signal (interrupted)."""
    collect_seldom()
    tame_warnings()
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
            say(commented_help(job))
            return 0
        refuse_irregular(arguments)
        TRUSTED.extend(trusted_plugins(arguments))
        job()
    except KeyboardInterrupt as stopped:
        # A launcher may pass SIGTERM on as a plain KeyboardInterrupt.
        meant = signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT
        return _interrupted(started, interrupt.received() or meant)
    except (Refusal, Exception) as raised:
        error = raised.error if isinstance(raised, Refusal) else raised
        # What is interrupted in the midst of an import or a composition may raise anything.
        sent = interrupt.received()
        if sent is not None and not isinstance(error, TradingBotError):
            return _interrupted(started, sent)
        return _fail(error, wants_traceback)
    return _unsent_status(started)


def _interrupted(started: float, sent: int) -> int:
    _say("Interrupted. A run that was open is closed as KILLED, with its history so far.")
    _say_how_to_go_on()
    _unsent_status(started)
    return 128 + sent


def _unsent_status(started: float) -> int:
    """Return 1, with a message, if records of this command wait on disk and the user did not choose that."""
    unsent = sys.modules.get("tradingbot_exp.tracking.writing.outbox.unsent")
    if unsent is None:
        return 0
    waiting = [folder for folder in unsent.unsent_runs(Path.cwd(), since=started - 1) if unsent.must_fail(folder)]
    if not waiting:
        return 0
    _say(f"Error: records of {plural(len(waiting), 'run')} could not be sent to MLflow and wait on disk, in")
    for folder in waiting:
        _say(f"  {folder}")
    commands = []
    for folder in waiting:
        with suppress(FileNotFoundError, TradingBotError):  # another command has sent them meanwhile
            commands.append(unsent.send_command(unsent.stored_uri(folder)))
    for command in dict.fromkeys(commands):
        _say(f"Send them, once MLflow can take them, with: {command}")
    return 1


def _message(error: Exception) -> str:
    """Say what went wrong, in as few words as the error allows."""
    if isinstance(error, TradingBotError):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error)
    if isinstance(error, YAMLError):
        return str(composing_error(error))
    return in_one_line(error)


def _say_how_to_go_on() -> None:
    """Name the command that goes on with a run that did not finish and has a checkpoint."""
    checkpoints = sys.modules.get("tradingbot_exp.tracking.writing.checkpoints")
    for command in [] if checkpoints is None else checkpoints.commands():
        _say(f"Go on with it from its last checkpoint: {command}")


def _fail(error: Exception, wants_traceback: bool) -> int:
    is_expected = isinstance(error, TradingBotError | HydraException | OmegaConfBaseException | YAMLError | OSError)
    tell(error, _message(error), is_expected=is_expected, traceback_wanted=wants_traceback)
    if not isinstance(error, TradingBotError):  # which would come again
        _say_how_to_go_on()
    return 1


def _say(text: str) -> None:
    say(text.rstrip("\n") + "\n", error=True)


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
