"""What ``hydra/sweeper=study`` does: an Optuna study that is resumed after a kill, pruned, shared, and recorded.

Hydra's side only: which overrides are fixed and which are searched, and how a batch of trials is launched.
The study itself is `tradingbot_exp.hpo`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, read_write

from hydra_plugins.tradingbot_exp._composing import ReusingLoader
from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.config.overrides import split_words
from tradingbot_exp.config.own_conf import search_path
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.trial_spec import TICKET_VARIABLE, Lost
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from tradingbot_exp.hpo.study import StudySession
    from tradingbot_exp.hpo.trial_spec import TrialJob

log = logging.getLogger(__name__)

# What joblib raises when a worker was killed, by the kernel for want of memory as a rule.
_WORKER_DIED = ("TerminatedWorkerError", "BrokenProcessPool")


class StudySweep:
    """Runs a study over ``hpo.param_space`` and whatever the command line sweeps over.

    Parameters
    ----------
    official : mapping of str to object
        Keys of the official Optuna sweeper, refused with the key to use instead.
    """

    def __init__(self, official: Mapping[str, Any]) -> None:
        self._official = official
        self.config: DictConfig
        self.launcher: Launcher
        self._make_launcher: Callable[[], Launcher]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take note of what Hydra hands over, before the sweep."""
        self.config = config
        if _is_basic(config) or str(config.hydra.launcher._target_).endswith(".StackedLauncher"):
            reusing: Any = ReusingLoader(hydra_context.config_loader)
            hydra_context = replace(hydra_context, config_loader=reusing)
        self._make_launcher = lambda: Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.launcher = self._make_launcher()

    def sweep(self, arguments: list[str]) -> Any:
        """Bring the study to its end.

        Parameters
        ----------
        arguments : list of str
            The overrides of the command line.
        """
        from tradingbot_exp.hpo.results.display import StudyDisplay
        from tradingbot_exp.hpo.runner import run_study
        from tradingbot_exp.hpo.space.space import SearchSpace
        from tradingbot_exp.hpo.study import StudySession

        for key, ours in (("n_trials", "hpo.num_trials"), ("params", "hpo.param_space")):
            if self._official[key] is not None:
                raise ConfigError(f"hydra.sweeper.{key}={self._official[key]} is not read here: set {ours} instead.")
        fixed, swept = split_words(arguments)
        config = finalize(self.config, fixed)
        # A sweep string given for an entry of the space is an entry, not a sweep over the space.
        prefix = "hpo.param_space."
        entries = dict(word.lstrip("+").removeprefix(prefix).split("=", 1) for word in swept if prefix in word)
        swept = [word for word in swept if prefix not in word]
        space = SearchSpace.parse({**config.hpo.param_space, **entries}, swept)
        space = space.without(word.lstrip("+").partition("=")[0] for word in fixed)
        launcher = str(self.config.hydra.launcher._target_)
        _refuse_unreachable(config.hpo.pruner, launcher, config.hpo.storage or "")
        if config.hpo.n_jobs > 1 and _is_basic(self.config):
            log.warning(
                "hpo.n_jobs=%d: the basic launcher still runs one trial after another, and asks for all of them before "
                "it knows the first one's value. hydra/launcher=stacked, the default, or joblib runs them at once.",
                config.hpo.n_jobs,
            )
        overrides = [*search_path(self.config.hydra), *fixed]
        session = StudySession(config, space, ExperimentOrganizer(config), overrides)
        try:
            self._settle_folder(session)
            self.launcher = self._make_launcher()  # once more: what it keeps beside the jobs goes there too
            width = self._width(session, fixed)
        except BaseException as error:
            session.close(error)
            raise
        with StudyDisplay(session) as display:
            report = partial(report_at_end, "hpo")
            result = run_study(session, lambda jobs: self._launch(session, fixed, jobs), display, report, width)
        return result.best[0].values if result.best else None

    def _width(self, session: StudySession, fixed: Sequence[str]) -> int:
        """Give how many trials to ask for at once; a launcher that stacks them has a say where the user has none."""
        from tradingbot_exp.hpo.batch import batch_width

        config, widest = session.config, getattr(self.launcher, "width", None)
        named = any(word.partition("=")[0] == "hpo.n_jobs" for word in fixed)
        if widest is None or named or config.hpo.n_jobs > 1:
            return config.hpo.n_jobs
        return batch_width(config, session.space, session.parent, widest)

    def _settle_folder(self, session: StudySession) -> None:
        """Put all starts of a study into one folder, unless the user names another."""
        given = [word for word in self.config.hydra.overrides.hydra if word.startswith("hydra.sweep.dir=")]
        with read_write(self.config.hydra), read_write(self.config.hydra.overrides.hydra):
            if given:
                session.folder = session.folder.__class__(str(self.config.hydra.sweep.dir)).absolute()
            else:
                self.config.hydra.sweep.dir = str(session.folder)
                self.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={_quoted(str(session.folder))}")

    def _launch(self, session: StudySession, fixed: Sequence[str], jobs: Sequence[TrialJob]) -> list[Any]:
        """Launch a batch and give each job's outcome; the artifacts of earlier losers go."""
        from tradingbot_exp.hpo.results.recording import drop_losers

        overrides = [
            [
                *fixed,
                *job.overrides,
                f"hydra.sweep.subdir={trial_name(job.ticket.number)}",
                "hydra.output_subdir=null",
                f"+hydra.job.env_set.{TICKET_VARIABLE}={_quoted(job.ticket.dumps())}",
            ]
            for job in jobs
        ]
        try:
            returns = self.launcher.launch(overrides, initial_job_idx=jobs[0].ticket.number)
        except KeyboardInterrupt:
            _stop_workers()
            interrupt.check()  # Ray turns SIGTERM's exception into that of Ctrl-C
            raise
        except Exception as error:
            if type(error).__name__ not in _WORKER_DIED:
                raise
            return [Lost(str(error).partition("\n")[0]) for _ in jobs]
        drop_losers(session, (job.ticket.number for job in jobs))
        return [_outcome(job_return) for job_return in returns]


def _is_basic(config: DictConfig) -> bool:
    """Whether jobs are launched one after another, in this process."""
    return str(config.hydra.launcher._target_).endswith(".BasicLauncher")


def _refuse_unreachable(pruner: str, launcher: str, storage: str) -> None:
    """Refuse pruning where jobs run on machines that cannot be expected to see the study's file."""
    remote = any(word in launcher.lower() for word in ("slurm", "aws"))
    if pruner != "none" and remote and not storage.startswith("postgresql"):
        raise ConfigError(
            f"hpo.pruner={pruner} needs jobs that reach the study's storage, and those of this launcher run on other "
            "machines. Give hpo.storage=postgresql://USER@HOST/NAME, or set hpo.pruner=none."
        )


def _outcome(job_return: JobReturn) -> Any:
    """Give a job's value, or the exception that it raised, without Hydra's printing."""
    from hydra.core.utils import JobStatus

    if job_return.status is JobStatus.COMPLETED:
        return job_return.return_value
    error = job_return._return_value
    return error if isinstance(error, BaseException) else RuntimeError(f"the job failed without saying why: {error}")


def _stop_workers() -> None:
    """End the launcher's workers on this machine, which would finish their jobs as orphans."""
    import signal
    import sys

    import psutil

    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
    if "submitit" in sys.modules:
        # Each job has a controller, which passes SIGINT on and kills after a second; its job ignores SIGTERM.
        mine = [child for child in psutil.Process().children() if "submitit.local._local" in child.cmdline()]
        for controller in mine:
            controller.send_signal(signal.SIGINT)
        psutil.wait_procs(mine, timeout=10)


def _quoted(text: str) -> str:
    """Quote a text for Hydra's override grammar."""
    escaped = text.replace("\\'", "\\\\\\'").replace("'", "\\'")
    return f"'{escaped}'"
