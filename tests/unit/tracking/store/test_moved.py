"""A project folder that was moved, copied, or opened from elsewhere: everything in it is found, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from mlflow import MlflowClient
from support import Finished, in_ci

from tradingbot_exp import ExperimentReporter, load_run
from tradingbot_exp.cli.main import run
from tradingbot_exp.errors import ReportError, TrackingError
from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.moved import mend_locations, present_artifacts, present_path
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.unsent import send_left_behind
from tradingbot_exp.tracking.writing.run import TrackedRun


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def organizer(folder: Path) -> ExperimentOrganizer:
    names = SimpleNamespace(name="tradingbot", run_name="r", description=None, tags={})
    tracking = SimpleNamespace(uri=uri_of(folder), on_error="raise")
    return ExperimentOrganizer(SimpleNamespace(experiment=names, tracking=tracking))  # type: ignore[arg-type]


def locations(folder: Path) -> list[str]:
    """All that the database says of where something is, but for an experiment without a run."""
    queries = (
        "SELECT artifact_uri FROM runs",
        "SELECT artifact_location FROM experiments WHERE experiment_id > 0",
        "SELECT artifact_location FROM logged_models",
        "SELECT source FROM model_versions UNION ALL SELECT storage_location FROM model_versions",
    )
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [text for query in queries for (text,) in database.execute(query) if text]


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but for a database's locks and what is written ahead."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if "mlflow.db-" not in file.name}


def theirs(project: Path, place: Path) -> dict[str, bytes]:
    """What is in a project's old folder, but for what was moved into it."""
    within = str(place.relative_to(project)) if place.is_relative_to(project) else "none"
    return {name: each for name, each in content(project).items() if not name.startswith(within)}


@pytest.fixture
def project(default_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run of its own, and its report, as the current directory."""
    folder = tmp_path / "projects" / "mine"
    shutil.copytree(default_run.cwd, folder)
    assert mend_locations(uri_of(folder)) > 0  # it is no copy any more
    assert str(default_run.cwd) not in "".join(locations(folder))
    monkeypatch.chdir(folder)
    return folder


def renamed(project: Path) -> Path:
    return project.rename(project.parent / "yours")


def deeper(project: Path) -> Path:
    place = project.rename(project.with_name("scratch"))
    project.mkdir()
    return place.rename(project / "archive")


def higher(project: Path) -> Path:
    for each in [each for each in project.iterdir() if each.name != "outputs"]:
        each.rename(project.parent / each.name)
    return project.parent


def displaced(project: Path) -> Path:
    """Moved, and another project begun where it was."""
    place = renamed(project)
    (project / "mlruns" / "tradingbot").mkdir(parents=True)
    shutil.copy(place / "mlflow.db", project / "mlflow.db")
    return place


def copied(project: Path) -> Path:
    return Path(shutil.copytree(project, project.parent / "copy"))


Move = Callable[[Path], Path]
MOVES = (renamed, *(pytest.param(move, marks=in_ci) for move in (deeper, higher, displaced, copied)))


@pytest.mark.parametrize("move", MOVES)
def test_everything_is_found_where_the_folder_is_now_and_nothing_is_written_where_it_was(
    project: Path, monkeypatch: pytest.MonkeyPatch, move: Move
) -> None:
    (before,) = (project / "reports").glob("*.html")
    size = before.stat().st_size
    place = move(project)
    old = theirs(project, place)
    monkeypatch.chdir(place)
    loaded = load_run("latest")
    assert len(loaded.predictions) == 484 and loaded.config.model.name == "mlp"
    report = ExperimentReporter().generate_training_report("latest")
    assert report == place / "reports" / before.name and abs(report.stat().st_size - size) < 100
    if move is renamed:
        assert open_test_set(loaded.run_id).number == 1  # the model forecasts, and the ledger was read
    with organizer(place).start_run() as tracked:
        tracked.log_text("ours", "b.txt")
        mlflow.log_text("theirs", "c.txt")
    assert Path(tracked.artifact_place).is_relative_to(place / "mlruns" / "tradingbot")
    assert {file.name for file in Path(tracked.artifact_place).iterdir()} == {"b.txt", "c.txt"}
    assert theirs(project, place) == old


@pytest.mark.parametrize("move", MOVES)
def test_doctor_writes_down_where_things_are_now_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], move: Move
) -> None:
    client, run_id = MlflowClient(uri_of(project)), load_run("latest").run_id
    client.create_registered_model("ibm")
    client.create_model_version("ibm", f"{client.get_run(run_id).info.artifact_uri}/model", run_id)
    theirs = client.create_logged_model(client.get_run(run_id).info.experiment_id, name="theirs")
    client.log_model_artifact(theirs.model_id, str(project / "mlflow.db"))
    place = move(project)
    monkeypatch.chdir(place)
    wrong = [each for each in locations(place) if f"{place}/mlruns" not in each]
    assert len(wrong) == len(locations(place)) >= 5
    assert run(["doctor"]) == 1 and "was moved or copied" in capsys.readouterr().out
    assert [each for each in locations(place) if f"{place}/mlruns" not in each] == wrong
    assert run(["doctor", "--fix"]) == 0 and "mended" in capsys.readouterr().out
    assert [each for each in locations(place) if f"{place}/mlruns" not in each] == []
    assert run(["doctor", "--fix"]) == 0 and "mended" not in capsys.readouterr().out
    mlflow.set_tracking_uri(uri_of(place))
    try:
        assert mlflow.pyfunc.load_model("models:/ibm/1").metadata.signature is not None
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("there", "recorded", "right"),
    [
        ("new/mlruns/e/r", "old/mlruns/e/r", "new/mlruns/e/r"),  # moved
        ("old/mlruns/e/r new/mlruns/e/r", "old/mlruns/e/r", "old/mlruns/e/r"),  # a backup of the artifacts alone
        ("old/mlflow.db old/mlruns/e/r new/mlruns/e/r", "old/mlruns/e/r", "new/mlruns/e/r"),  # a copy
        ("old/mlflow.db old/mlruns/e/r", "old/mlruns/e/r", "old/mlruns/e/r"),  # a copy of the database alone
        ("old/mlflow.db new/mlruns", "old/mlruns/e/r", "new/mlruns/e/r"),  # nothing kept so far
        ("new/mlruns", "old/mlruns/e/r", "new/mlruns/e/r"),
        ("disk/mlruns/f new/x", "disk/mlruns/e/r", "disk/mlruns/e/r"),  # artifacts on another disk
        ("new/art/e/r", "old/art/e/r", "new/art/e/r"),  # folders of another name
        ("new/x", "old/art/e/r", "old/art/e/r"),
        ("new/old/mlruns/e/r", "new/mlruns/e/r", "new/mlruns/e/r"),  # beside the store already
    ],
)
def test_the_recorded_place_counts_unless_it_is_gone_or_another_stores(
    tmp_path: Path, there: str, recorded: str, right: str
) -> None:
    for each in ("new/mlflow.db", *there.split()):
        place = tmp_path / each
        (place.parent if place.suffix else place).mkdir(parents=True, exist_ok=True)
        if place.suffix:
            place.touch()
    assert present_artifacts(tmp_path / recorded, tmp_path / "new" / "mlflow.db") == tmp_path / right


@pytest.mark.parametrize("now", ["new/mlruns", "new/renamed"])
def test_an_old_file_store_is_followed_too(tmp_path: Path, now: str) -> None:
    (tmp_path / now / "0" / "r" / "artifacts").mkdir(parents=True)
    recorded = tmp_path / "old" / "mlruns" / "0" / "r" / "artifacts"
    assert present_artifacts(recorded, tmp_path / now) == tmp_path / now / "0" / "r" / "artifacts"
    assert present_artifacts(tmp_path / now / "1" / "r", tmp_path / now) == tmp_path / now / "1" / "r"


def test_a_path_that_leads_out_and_one_of_a_server_are_left_as_they_are(workdir: Path) -> None:
    (workdir / "mlruns" / "e").mkdir(parents=True)
    for uri in ("s3://bucket/mlruns/e", "mlflow-artifacts:/mlruns/e", f"file://{workdir.parent}/x/../gone/mlruns/e"):
        with closing(sqlite3.connect(workdir / "mlflow.db")) as database:
            database.execute("UPDATE experiments SET artifact_location = ?", (uri,))
            database.commit()
        assert open_client(uri_of(workdir)).get_experiment("0").artifact_location == uri


@pytest.mark.parametrize(
    ("recorded", "stored_in", "store", "right"),
    [
        ("old", "old/mlflow.db", "new/mlflow.db", "new"),
        ("old/bars.csv", "old/mlflow.db", "new/mlflow.db", "new/bars.csv"),
        ("old/gone.csv", "old/mlflow.db", "new/mlflow.db", "old/gone.csv"),
        ("elsewhere", "old/mlflow.db", "new/mlflow.db", "elsewhere"),
        ("new", "new/mlflow.db", "new/mlflow.db", "new"),
    ],
)
def test_a_launch_directory_and_data_move_with_their_store(
    tmp_path: Path, recorded: str, stored_in: str, store: str, right: str
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "bars.csv").touch()
    addresses = [f"sqlite:///{tmp_path / each}" for each in (stored_in, store)]
    assert present_path(str(tmp_path / recorded), {"tracking.uri": addresses[0]}, addresses[1]) == str(tmp_path / right)
    assert present_path(recorded, {"tracking.uri": "postgresql://host/name"}, addresses[1]) == recorded


@pytest.mark.parametrize(
    "gone",
    [
        "mlruns",
        pytest.param("mlruns/tradingbot/*/artifacts/evaluation", marks=in_ci),
        pytest.param("mlruns/tradingbot/*/artifacts/data", marks=in_ci),
    ],
)
def test_a_report_is_not_replaced_by_one_that_lacks_what_is_not_found(project: Path, gone: str) -> None:
    (folder,) = project.glob(gone)
    (report,) = (project / "reports").glob("*.html")
    before = report.read_bytes()
    folder.rename(project / "away")
    with pytest.raises(ReportError, match=r"would lack .* are not found \(.*\.(csv|json)"):
        ExperimentReporter().generate_training_report("latest")
    assert report.read_bytes() == before
    there = content(project / "mlruns") if (project / "mlruns").exists() else None
    lesser = ExperimentReporter().generate_training_report("latest", project / "lesser.html")
    assert lesser.stat().st_size < len(before)
    assert (content(project / "mlruns") if (project / "mlruns").exists() else None) == there  # nor the one kept there
    (project / "away").rename(folder)
    ExperimentReporter().generate_training_report("latest")
    assert report.read_bytes() != before


def waiting(folder: Path) -> TrackedRun:
    """Make a run whose records wait in the folder."""
    client = MlflowClient(uri_of(folder))
    creation = {"name": "r", "experiment": "tradingbot", "start_time": 1000, "tags": {}, "uri": uri_of(folder)}
    unsent = folder / ".tradingbot" / "unsent"
    number = client.get_experiment_by_name("tradingbot").experiment_id
    tracked = TrackedRun(Delivery.create(lambda: (client, number), creation, unsent, "offline"), "r")
    client.delete_run(tracked.run_id)  # a deleted run takes no more records
    tracked.log_metrics({"m": 1.0}, 1)
    tracked.log_text("kept", "kept.txt")
    tracked.end("FINISHED")
    client.restore_run(tracked.run_id)
    return tracked


@pytest.mark.parametrize("by", ["doctor", "the next command"])
@pytest.mark.parametrize("move", [renamed, displaced, copied])
def test_records_that_wait_are_sent_to_the_store_that_was_moved_with_them(
    project: Path, monkeypatch: pytest.MonkeyPatch, move: Move, by: str
) -> None:
    run_id = waiting(project).run_id
    place = move(project)
    monkeypatch.chdir(place)
    if by == "doctor":
        assert run(["doctor", "--fix"]) == 0
    else:
        send_left_behind(open_client(uri_of(place)))
    found = open_store(place).run(run_id)
    assert (found.info.status, found.data.metrics["m"]) == ("FINISHED", 1.0)
    assert (place / "mlruns" / "tradingbot" / run_id / "artifacts" / "kept.txt").read_text() == "kept"
    assert not list((place / ".tradingbot" / "unsent").iterdir())
    if move is copied:
        assert MlflowClient(uri_of(project)).get_run(run_id).info.status == "RUNNING"
        assert len(list((project / ".tradingbot" / "unsent").iterdir())) == 1


def test_a_store_that_is_gone_is_not_made_again_for_its_records(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting(project)
    shutil.move(project / ".tradingbot", project.parent / ".tradingbot")
    (project / "mlflow.db").rename(project / "away.db")
    monkeypatch.chdir(project.parent)
    assert run(["doctor", "--fix", "--tracking-uri", f"sqlite:///{project / 'mlflow.db'}"]) == 1
    assert f"There is no tracking store at {project / 'mlflow.db'}" in capsys.readouterr().err
    assert not (project / "mlflow.db").exists()
    with pytest.raises(TrackingError):
        open_store(project)
