"""What crashes and outages left in a store: dead runs, interrupted studies, missing artifacts; and how to mend them."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.process import identity, is_alive, owner_of
from tradingbot_exp.runtime.text import one_line, plural, train_command
from tradingbot_exp.tracking.reading.artifacts import ENVIRONMENT, OVERRIDES, mapping_file, words_file
from tradingbot_exp.tracking.reading.run_context import OUR_PROGRAMS
from tradingbot_exp.tracking.run_names import ENDED, FINISHED_STATES, INTERRUPTED, OWN_LOOP, SAMPLER_TAG
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.lookup import ENSEMBLE, REFIT
from tradingbot_exp.tracking.store.moved import mend_locations, moved_locations, present_path
from tradingbot_exp.tracking.store.places import local_artifacts, local_folder
from tradingbot_exp.tracking.writing.checkpoints import has_checkpoint, resume_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store

# Artifacts without which a finished run can be neither made again nor reported on.
_KEY_ARTIFACTS = {
    "training": ("config/config.yaml", "environment/environment.json", "evaluation/validation_returns.csv", "model"),
    REFIT: ("config/config.yaml", "environment/environment.json", "model"),
    ENSEMBLE: ("config/config.yaml", "model"),
    "study": ("config/config.yaml", "environment/environment.json", "study/search_space.json"),
}
# So many runs of one place without artifacts are told as one.
_MANY = 4


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes
    ----------
    kind : str
        ``moved_artifacts``, ``dead_run``, ``perhaps_dead_run``, ``mislabelled_trial``, ``interrupted_study`` or
        ``missing_artifacts``; and ``left_worktree``, which is in no store.
    what : str
        One sentence.
    advice : str
        What to do, if doctor cannot do it.
    run_id : str or None
    mend : callable or None
        Mends it, and says what was done, and in a line of its own a command that is possible now; empty if it was not
        needed any more. None where doctor can do nothing.
    is_problem : bool
        False for what is in order as a record, such as a study that was stopped on purpose.
    """

    kind: str
    what: str
    advice: str = ""
    run_id: str | None = None
    mend: Callable[[], str] | None = None
    is_problem: bool = True


def examine(store: Store, waiting: Collection[str] = ()) -> list[Finding]:
    """Look through the runs of a store; nothing is changed.

    Parameters
    ----------
    store : Store
    waiting : collection of str
        Ids of runs whose records wait on disk: sending them closes these runs.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    where = store.experiments()
    running = store.search("attributes.status = 'RUNNING'", where)
    open_runs = [run for run in running if run.info.run_id not in waiting]
    studies = store.search("tags.`run.kind` = 'study'", where)
    return [
        *_moved(store),
        *_dead_runs(store, open_runs),
        *(found for study in studies for found in _study(store, study, open_runs)),
        *_mislabelled(store, where),
        *_missing_artifacts(store, where),
    ]


def _moved(store: Store) -> list[Finding]:
    """Find out whether a store was moved or copied, and says of its artifacts where they were before."""
    found = moved_locations(store.uri)
    kept = [now for (table, _, _), (_, now) in found.items() if table != "experiments" or _is_there(now)]
    if not kept:  # an experiment without any artifacts is no matter
        return []
    old, new = next(pair for pair in found.values() if pair[1] == kept[0])

    def mend() -> str:
        number = mend_locations(store.uri)
        return f"{plural(number, 'location')} in {store.shown} {'is' if number == 1 else 'are'} where things are now."

    what = f"The store {store.shown} was moved or copied: it says {old}, for example, and the artifacts are in {new}."
    return [Finding("moved_artifacts", what, mend=mend)]


def _is_there(location: str) -> bool:
    folder = local_folder(location)
    return folder is not None and folder.is_dir()


def _dead_runs(store: Store, running: Sequence[Run]) -> list[Finding]:
    found = []
    for run in running:
        owner = owner_of(run.data.tags)
        if "process.host" not in owner or is_alive(owner) or _is_shared(run, running):
            continue
        name = f"The {run.data.tags.get('run.kind', 'run').replace('_', ' ')} {run.info.run_name} ({run.info.run_id})"
        host, pid = owner["process.host"], owner.get("process.pid", "?")
        if host == identity()["process.host"]:
            what = f"{name} is RUNNING, but its process {pid} is gone."
            advice = _how_to_go_on(store, run)
            found.append(Finding("dead_run", what, advice, run.info.run_id, _closing(store, run, name)))
        else:
            advice = (
                f"Run doctor on {host}; or, if that machine is gone, close it in Python: "
                f'MlflowClient({store.shown!r}).set_terminated({run.info.run_id!r}, "KILLED")'
            )
            what = f"{name} is RUNNING on another host, {host}, and perhaps dead: {_silence(owner)}."
            found.append(Finding("perhaps_dead_run", what, advice, run.info.run_id))
    return found


def _how_to_go_on(store: Store, run: Run) -> str:
    """Return the command that goes on with a run from its checkpoint; empty without one."""
    try:
        if not has_checkpoint(run):
            return ""
    except TrackingError:  # its artifacts are nowhere that is followed
        return ""
    plugins = re.findall(r"[\w.]+", run.data.params.get("plugins", ""))
    return f"Go on with it: {resume_command(run.info.run_id, store.uri, plugins)}"


def _is_shared(run: Run, running: Sequence[Run]) -> bool:
    """Tell whether another process is at work on a trial of this study or sweep, whose run it will close."""
    mine = [each for each in running if each.data.tags.get("mlflow.parentRunId") == run.info.run_id]
    return any(is_alive(owner_of(each.data.tags)) for each in mine)


def _silence(owner: Mapping[str, str]) -> str:
    beat = owner.get("process.heartbeat", "")
    if not beat.isdigit():
        return "it gives no signs of life"
    return f"its last sign of life was {(time.time() - float(beat)) / 60:.0f} minutes ago"


def _closing(store: Store, run: Run, name: str) -> Callable[[], str]:
    def close() -> str:
        """Close a run by what it says itself: a trial whose result was written has ended, anything else was killed."""
        client, run_id = store.client, run.info.run_id
        with wrapped(f"The run {run_id} cannot be closed"):
            now = client.get_run(run_id)
            if now.info.status in ENDED or is_alive(owner_of(now.data.tags)):
                return ""
            state, is_trial = now.data.tags.get("trial.state", ""), "study.name" in now.data.tags
            is_trial = is_trial and now.data.tags.get("run.kind") == "trial"
            if is_trial and state in FINISHED_STATES:
                status = "FAILED" if state == "failed" else "FINISHED"
            else:
                status = "KILLED"
                if is_trial:
                    client.set_tag(run_id, "trial.state", INTERRUPTED)
                client.set_tag(run_id, "error", "its process ended before it could close the run")
            client.set_terminated(run_id, status)
        return "\n".join(filter(None, (f"{name} is closed as {status}.", _how_to_go_on(store, run))))

    return close


def _mislabelled(store: Store, where: Collection[str]) -> list[Finding]:
    """Find trials that were closed as KILLED or FAILED though they had a result, as earlier versions did after a kill.

    Where the point was tried again, and that trial is complete, the study counts that one.
    """
    found = []
    query = "attributes.status != 'FINISHED' and tags.`run.kind` = 'trial' and tags.`trial.values` != ''"
    for run in store.search(query, where):
        tags = run.data.tags
        if run.info.status not in ENDED:
            continue
        parent = f"tags.`mlflow.parentRunId` = '{tags.get('mlflow.parentRunId')}' and attributes.status = 'FINISHED'"
        others = store.search(parent, [run.info.experiment_id])
        if any(other.data.params == run.data.params for other in others):
            continue
        name = f"The trial {run.info.run_name} ({run.info.run_id})"

        def mend(run_id: str = run.info.run_id, name: str = name) -> str:
            with wrapped(f"The run {run_id} cannot be closed"):
                store.client.set_tag(run_id, "trial.state", "complete")
                store.client.set_terminated(run_id, "FINISHED")
            return f"{name} is closed as FINISHED, by its result."

        what = f"{name} has a result, {tags['trial.values']}, and is {run.info.status}."
        found.append(Finding("mislabelled_trial", what, run_id=run.info.run_id, mend=mend))
    return found


def _study(store: Store, study: Run, running: Sequence[Run]) -> list[Finding]:
    """Say of a study that nobody works on and that is not complete how to go on with it, unless a program keeps it."""
    tags, status = study.data.tags, study.info.status
    at_work = is_alive(owner_of(tags)) or _is_shared(study, running)
    if (status == "RUNNING" and at_work) or "study.stopped_early" in tags or tags.get(SAMPLER_TAG) == OWN_LOOP:
        return []
    planned = study.data.params.get("hpo.num_trials", "")
    wanted = int(planned) if planned.isdigit() else 0
    query = f"tags.`mlflow.parentRunId` = '{study.info.run_id}'"
    children = store.search(query, [study.info.experiment_id])
    done = sum(each.data.tags.get("trial.state") in FINISHED_STATES for each in children)
    if status == "FINISHED" and done >= wanted:
        return []
    name = tags.get("study.name", study.info.run_name)
    far = f"{done} of {wanted} trials are done" if wanted else "it has not begun"
    what = f"The study {name} ({study.info.run_id}) was interrupted ({status}): {far}."
    advice = f"Go on with: {study_command(store, study)}"
    return [Finding("interrupted_study", what, advice, study.info.run_id, is_problem=False)]


def study_command(store: Store, study: Run) -> str:
    """Return the command that goes on with a study, where it was started."""
    environment = store.artifact(study, ENVIRONMENT, mapping_file) or {}
    program = study.data.tags.get("mlflow.source.name", "")
    arguments = environment.get("arguments")
    place = environment.get("launch_dir")
    place = place and present_path(place, study.data.params, store.uri)
    where = f"cd {shlex.quote(place)} && " if place else ""
    if Path(program).name not in OUR_PROGRAMS:
        return f"{where}{shlex.join(['python', program])} (the program that called run_hpo_study, with the same data)"
    if arguments is None:
        arguments = ["--multirun", *(store.artifact(study, OVERRIDES, words_file) or [])]
    return f"{where}{train_command(arguments)}"


def _missing_artifacts(store: Store, where: Collection[str]) -> list[Finding]:
    """Name finished runs whose artifacts are gone; many of one place, which was removed as a whole, are one finding."""
    found: list[Finding] = []
    gone: dict[Path, list[Run]] = {}
    # Runs of the main job only: what a user's own program logs is its affair.
    query = "attributes.status = 'FINISHED' and tags.`config.sha256` != ''"
    for run in store.search(query, where):
        expected = _KEY_ARTIFACTS.get(run.data.tags.get("run.kind", ""), ())
        try:
            folder = local_artifacts(run.info.artifact_uri, run.info.run_id)
        except TrackingError as error:  # one that somebody else put there is no reason not to see the others
            what = f"The run {one_line(run.info.run_name)} ({run.info.run_id}) cannot be looked at. {error}"
            found.append(Finding("missing_artifacts", what, "", run.info.run_id))
            continue
        if expected and folder is not None and not folder.is_dir():
            gone.setdefault(folder.parents[1], []).append(run)
        elif expected and (missing := _missing(store, run, folder, expected)):
            found.append(_lacking(run, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"))
    for place, runs in gone.items():
        if len(runs) < _MANY:
            found += [
                _lacking(run, f"its artifact folder {place / run.info.run_id / 'artifacts'} is not there")
                for run in runs
            ]
        else:
            ids = ", ".join(run.info.run_id for run in runs[:_MANY])
            what = f"{len(runs)} runs are FINISHED, but their artifact folders in {place} are not there: {ids}, …"
            found.append(Finding("missing_artifacts", what, f"Restore {place} from a copy."))
    return found


def _lacking(run: Run, what: str) -> Finding:
    removing = shlex.join(["mlflow", "runs", "delete", "--run-id", run.info.run_id])
    advice = f"Restore it from a copy, or remove the run: {removing}"
    text = f"The run {run.info.run_name} ({run.info.run_id}) is FINISHED, but {what}."
    return Finding("missing_artifacts", text, advice, run.info.run_id)


def _missing(store: Store, run: Run, folder: Path | None, expected: Sequence[str]) -> list[str]:
    """Return the artifacts that are gone; their folder is None where they are not on this machine."""
    if folder is not None:
        return [path for path in expected if not (folder / path).exists()]
    top = store.names(run)
    return [path for path in expected if path.partition("/")[0] not in top]
