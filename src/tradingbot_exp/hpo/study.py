"""What a study is: its configuration, space and definition, its name, and its parent run, opened or found again."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.data.identity import market_returns
from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.recording import identifying_tags, record_surroundings
from tradingbot_exp.hpo.checks import check_metrics, check_study
from tradingbot_exp.hpo.definition import define, differences, short_hash
from tradingbot_exp.hpo.loop import POLL_SECONDS
from tradingbot_exp.hpo.recovery import UNSIGNED_SECONDS
from tradingbot_exp.hpo.storage import create_or_load, open_storage
from tradingbot_exp.runtime.process import identity, is_alive, signature
from tradingbot_exp.tracking.reading.openings import tell_of_openings
from tradingbot_exp.tracking.run_names import SAMPLER_TAG, study_run_name
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.unsent import unsent_folder
from tradingbot_exp.tracking.writing.run import TrackedRun
from tradingbot_exp.tracking.writing.trial_runs import Children

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.space.space import SearchSpace
    from tradingbot_exp.tracking.store.types import Run
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

SHOWN_TRIALS = 5
# Of a study's name in that of its folder: file systems take 255 bytes, and a letter may have four.
FOLDER_LETTERS = 60
# What an earlier start's end left on the parent run, and a new start makes untrue.
_STALE_TAGS = {"error", "study.stopped_early"}


@dataclass(frozen=True, repr=False)
class StudyResult:
    """What a finished study leaves.

    Attributes
    ----------
    study : optuna.Study
    parent_id, name : str
    best : list of FrozenTrial
        Best first; of several objectives, the Pareto front.
    stopped_early : str or None
        Why it ended before `hpo.num_trials`.
    """

    study: Study
    parent_id: str
    name: str
    best: list[FrozenTrial]
    stopped_early: str | None

    def __repr__(self) -> str:
        best = self.best[0].values if self.best else None
        return f"StudyResult({self.name!r}, best={best}, parent_id={self.parent_id!r})"

    def _repr_html_(self) -> str:
        """Show the study in a notebook: its best trials, the best first."""
        names = list(self.best[0].params) if self.best else []
        rows = [["trial", "value", *names]]
        for trial in self.best[:SHOWN_TRIALS]:
            values = ", ".join(f"{value:.6g}" for value in trial.values)
            rows.append([str(trial.number), values, *(str(trial.params.get(name, "")) for name in names)])
        head = html.escape(f"Study {self.name} (run {self.parent_id})")
        early = f"<p>stopped early: {html.escape(self.stopped_early)}</p>" if self.stopped_early else ""
        cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        return f"<p>{head}</p>{early}<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


class StudySession:
    """Opens or resumes a study.

    Parameters
    ----------
    config : Config
        The configuration that trials vary.
    space : SearchSpace
    organizer : ExperimentOrganizer
    overrides : sequence of str
        What every trial is given besides; kept with the parent run.
    """

    def __init__(
        self, config: Config, space: SearchSpace, organizer: ExperimentOrganizer, overrides: Sequence[str] = ()
    ) -> None:
        self.config, self.space, self.organizer, self.overrides = config, space, organizer, list(overrides)
        check_study(config, space)
        data = load_data(config)
        check_metrics(config, data)
        self.definition = define(config, space.describe(), data.fingerprint)
        # MLflow first: it cannot make its tables in a database that Optuna has stamped.
        client, experiment_id = organizer.connect()
        storage, self.address = open_storage(config.hpo.storage, launch_dir())
        self.shown_address = redact(self.address)
        self.name = self._choose_name(storage)
        directions = [objective.direction for objective in objectives_of(config.hpo)]
        self.study, created = create_or_load(storage, self.name, directions)
        if created:
            self.study.set_user_attr("owner", signature())
            self.study.set_user_attr("folder", _free_folder(self.name))
            self.study.set_user_attr("definition", self.definition)
        else:
            self._check_definition()
        self.parent = self._open_parent(created)
        # Where the trials' folders are, the same for each start of the study.
        self.folder = launch_dir() / "multirun" / self.study.user_attrs.get("folder", self.name)
        self.staged: set[int] = set()  # trials that may have artifacts in their folders
        self.registered: str | None = None  # the address of the winner's model in the registry
        self.children = Children(client, experiment_id, self.parent.run_id, self.name, dict(config.experiment.tags))

    def close(self, error: BaseException | None = None) -> None:
        """End the parent run, by the kind of `error`; once is enough."""
        self.organizer.close_run(self.parent, error)

    def _choose_name(self, storage: optuna.storages.BaseStorage) -> str:
        hpo = self.config.hpo
        name = hpo.study_name or f"{self.config.model.name}-{self.config.data.name}-{short_hash(self.definition)}"
        if hpo.resume:
            return name
        taken = set(optuna.get_all_study_names(storage))
        if name not in taken:
            return name
        return next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)

    def _check_definition(self) -> None:
        stored = self._wait_for("definition")
        if stored is None:
            self.study.set_user_attr("definition", self.definition)
            return
        said = differences(stored, self.definition)
        if said:
            raise ConfigError(
                f"The study {self.name} is there already, and is another one:\n  "
                + "\n  ".join(said)
                + "\nGive this one a name of its own with hpo.study_name=NAME, or start afresh with hpo.resume=false."
            )

    def _wait_for(self, name: str) -> Any:
        """Wait for what the process that created the study writes into it next; None if that process is gone."""
        deadline = time.monotonic() + UNSIGNED_SECONDS
        while name not in self.study.user_attrs:
            owner = self.study.user_attrs.get("owner")
            if not is_alive(owner) if owner else time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        return self.study.user_attrs[name]

    def _open_parent(self, created: bool) -> TrackedRun:
        """Open the study's run, or the one that an earlier start opened, and see that it is complete."""
        parent_id = None if created else self._wait_for("parent_run_id") or self._lost_parent()
        found: Run | None = None
        if parent_id is None:
            run = self.organizer.open_study(self.name)
        else:
            found, run = self._find_parent(parent_id)
        try:
            if found is not None:
                self._reopen(found)
            if self.study.user_attrs.get("parent_run_id") is None:
                self.study.set_user_attr("parent_run_id", run.run_id)
            check_leaks(load_data(self.config))
            if created or not self._wait_for("recorded"):
                self._record_once(run)
                self.study.set_user_attr("recorded", True)
        except BaseException as error:
            self.organizer.close_run(run, error)
            raise
        return run

    def _lost_parent(self) -> str | None:
        """Find the run of a process that died before it could tell the study about it."""
        client, experiment_id = self.organizer.connect()
        query = f"tags.`run.kind` = 'study' and tags.`study.name` = '{self.name}'"
        with wrapped("The study's run cannot be looked for"):
            for run in client.search_runs([experiment_id], query):
                if run.data.tags.get("study.storage", self.shown_address) == self.shown_address:
                    return str(run.info.run_id)
        return None

    def _find_parent(self, parent_id: str) -> tuple[Run, TrackedRun]:
        client, _ = self.organizer.connect()
        uri = self.organizer.config.tracking.uri
        try:
            found = client.get_run(parent_id)
        except Exception as error:
            raise TrackingError(
                f"The run {parent_id} of the study {self.name} is not in {redact(uri)}. Use the store that the study "
                "was started with, or start afresh with hpo.resume=false."
            ) from error
        if found.info.lifecycle_stage != "active":
            raise TrackingError(
                f"The run {parent_id} of the study {self.name} was deleted. Restore it with `mlflow runs restore "
                f"--run-id {parent_id}`, or start afresh with hpo.resume=false."
            )
        delivery = Delivery.attach(client, parent_id, unsent_folder(), uri)
        return found, TrackedRun(delivery, study_run_name(self.name))

    def _reopen(self, parent: Run) -> None:
        """Let the study's run go on, in the name of this process."""
        client, run_id = self.organizer.connect()[0], parent.info.run_id
        client.update_run(run_id, status="RUNNING")
        for name in _STALE_TAGS & set(parent.data.tags):
            client.delete_tag(run_id, name)
        for name, value in identity().items():
            client.set_tag(run_id, name, value)

    def _record_once(self, run: TrackedRun) -> None:
        """Record what all trials share, unless an earlier start got that far."""
        client, _ = self.organizer.connect()
        if "study.recorded" in client.get_run(run.run_id).data.tags:
            return
        job = build(self.config, run)
        tags = identifying_tags(job.config, job.data)
        run.set_tags({**tags, **identity()})
        tell_of_openings(run, tags, market_returns(job.data))
        job.logger.log_config(job.config, self.overrides)
        record_surroundings(job)
        run.log_text(json.dumps(self.space.describe(), indent=2) + "\n", "study/search_space.json")
        sampler, storage = self.config.hpo.sampler, self.shown_address
        run.set_tags({SAMPLER_TAG: sampler, "study.storage": storage, "study.recorded": True})


def _free_folder(name: str) -> str:
    """Give a name of a folder that nothing has written into: another storage may have had a study of this name.

    It lies in the folder of all studies, and any file system takes it, whatever the study is called.
    """
    taken = launch_dir() / "multirun"
    short = re.sub(r'[/\\:*?"<>|]', "_", name)[:FOLDER_LETTERS].strip(". ") or "study"
    candidates = (short, *(f"{short}.{number}" for number in range(2, 10_000)))
    return next(candidate for candidate in candidates if not (taken / candidate).exists())
