"""Nothing that a store says is run, resolved or followed, unless the run is trusted: stores as attackers write them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import skops.io
import torch
from mlflow import MlflowClient
from omegaconf import OmegaConf
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._testing import assert_run_python_script_without_output
from support import artifact_folder, git

from tradingbot_exp import load_run, train
from tradingbot_exp.cli.main import run as command
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.registries import EPOCH_HOOKS
from tradingbot_exp.data.fitted import from_bytes
from tradingbot_exp.errors import ConfigError, RunError, TrackingError, TradingBotError
from tradingbot_exp.experiment.resume import find_resume_point
from tradingbot_exp.hpo.storage import check_storage
from tradingbot_exp.recorded.reproduction.place import Place, environment_of, prepared_place
from tradingbot_exp.recorded.reproduction.verify import _write_spec, verify
from tradingbot_exp.tracking.reading.artifacts import literal
from tradingbot_exp.tracking.reading.recipe import read_recipe
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.places import local_artifacts, require_own_server
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.checkpoints import checkpoint_folder
from tradingbot_exp.tracking.writing.configuration import as_recorded

WORDS = [
    "data=synthetic",
    "data.synthetic.bars=400",
    "training=smoke",
    "training.progress=off",
    "tracking.report=false",
]
MARK = "executed"
EVIL = f"from pathlib import Path\nPath({MARK!r}).touch()\ndef _load_pyfunc(path): return None\n"


class Bomb:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path(MARK).touch, ()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("trust")
    shutil.copy(store_template, folder / "mlflow.db")
    (folder / "evil.py").write_text(EVIL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))  # as `python -m` does
        run = train(WORDS)
        artifacts = artifact_folder(MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").get_run(run.run_id))
        yield SimpleNamespace(folder=folder, run_id=run.run_id, artifacts=artifacts, data=artifacts / "model/data/data")


@pytest.fixture
def store(trained: Any) -> Iterator[Any]:
    """The store of one run, whose artifacts a test may alter."""
    shutil.copytree(trained.artifacts, trained.folder / "kept", symlinks=True)
    yield trained
    shutil.rmtree(trained.artifacts)
    shutil.move(trained.folder / "kept", trained.artifacts)
    Path(MARK).unlink(missing_ok=True)


def alter(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tree = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(tree, dict)
    change(tree)  # type: ignore[arg-type]
    file.write_text(json.dumps(tree))


def name_a_loader(store: Any) -> None:
    flavor = {"loader_module": "evil", "data": "data/data"}
    alter(store.artifacts / "model/MLmodel", lambda tree: tree["flavors"].update(python_function=flavor))


def ship_code(store: Any) -> None:
    (store.artifacts / "model/code").mkdir()
    (store.artifacts / "model/code/loader_of_theirs.py").write_text(EVIL)
    flavor = {"loader_module": "loader_of_theirs", "data": "data/data", "code": "code"}
    alter(store.artifacts / "model/MLmodel", lambda tree: tree["flavors"].update(python_function=flavor))


def keep_a_pickle(store: Any) -> None:
    alter(store.data / "model.json", lambda record: record.update(config=None))
    torch.save(Bomb(), store.data / "module.pt")


def name_a_module_of_a_class(store: Any) -> None:
    alter(store.data / "model.json", lambda record: (record.update(module="evil"), record["config"].update(name="own")))


def scale_by_a_function(store: Any) -> None:
    program = partial(assert_run_python_script_without_output, EVIL)
    skops.io.dump(FunctionTransformer(program), store.data / "scaler.skops")


HOSTILE_MODELS = [name_a_loader, ship_code, keep_a_pickle, name_a_module_of_a_class, scale_by_a_function]


@pytest.mark.parametrize("prepare", HOSTILE_MODELS)
def test_a_model_that_runs_code_is_refused_with_the_option_that_allows_it_and_nothing_runs(
    store: Any, prepare: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(store)
    with pytest.raises(RunError, match="If you trust whoever made the run, give --trust"):
        load_run(store.run_id).model  # noqa: B018
    for words in (["predict", store.run_id, "--data", "bars.csv"], ["evaluate", store.run_id, "--yes"]):
        assert command(words) == 1
    assert not Path(MARK).exists() and "give --trust" in capsys.readouterr().err


@pytest.mark.parametrize("prepare", [each for each in HOSTILE_MODELS if each is not scale_by_a_function])
def test_with_trust_the_same_model_is_loaded_by_its_own_code(store: Any, prepare: Callable[[Any], None]) -> None:
    prepare(store)
    with contextlib.suppress(TradingBotError):  # some are no model after all
        load_run(store.run_id, trust=True).model  # noqa: B018
    assert Path(MARK).exists()


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), None], ids=["pickle", "archive"])
def test_weights_that_are_no_tensors_are_not_unpickled(store: Any, content: bytes | None) -> None:
    if content is None:
        buffer = io.BytesIO()
        torch.save(Bomb(), buffer)
        content = buffer.getvalue()
    (store.data / "weights.pt").write_bytes(content)
    with pytest.raises(TradingBotError, match="cannot be loaded"):
        load_run(store.run_id).model  # noqa: B018
    assert not Path(MARK).exists()


@pytest.mark.parametrize("name", ["MLmodel", "data/data/model.json", "data/data/weights.pt", "data/data/scaler.skops"])
def test_a_models_file_that_is_a_link_out_of_its_run_is_not_followed(store: Any, tmp_path: Path, name: str) -> None:
    file = store.artifacts / "model" / name
    shutil.move(file, tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TradingBotError, match="leads out of"):
        load_run(store.run_id).model  # noqa: B018


@pytest.mark.parametrize(
    "content",
    [
        {"x": FunctionTransformer(partial(assert_run_python_script_without_output, EVIL))},
        {"x": assert_run_python_script_without_output},
        {"x": partial(os.system, f"touch {MARK}")},
        {"x": Path(MARK).touch},
    ],
    ids=["function in an estimator", "function of scikit-learn", "function of os", "bound method"],
)
def test_what_features_learned_holds_no_functions(store: Any, content: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"may run code|nothing registers|is damaged"):
        from_bytes(skops.io.dumps(content))
    assert not Path(MARK).exists()


@pytest.mark.parametrize("name", ["evil", "antigravity", "store.package"])
def test_plugins_that_only_the_store_names_are_not_imported(
    store: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(store.artifacts / "config/config.yaml", lambda tree: tree.update(plugins=[name]))
    refused = f"names {name}, which runs code when it is imported"
    for words in (
        ["predict", store.run_id, "--data", "bars.csv"],
        ["evaluate", store.run_id, "--yes"],
        ["reproduce", store.run_id, "--verify"],
    ):
        assert command(words) == 1
        told = capsys.readouterr().err
        assert refused in told or "code: the run" in told
        assert "give --trust" in told
    assert not Path(MARK).exists()
    if name == "evil":
        load_run(store.run_id, trust=True).load_plugins([name])
        assert Path(MARK).exists()


def test_a_resumed_runs_plugins_are_those_that_the_command_names(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("desk_of_mine.py").write_text(
        "from tradingbot_exp.plugins import on_epoch\n"
        "@on_epoch\ndef stop(epoch, losses, config):\n    if epoch == 2: raise ValueError('enough')\n"
    )
    words = [*WORDS, "training.epochs=4", "training.checkpoint_every=1", "plugins=[desk_of_mine]"]
    with pytest.raises(ValueError, match="enough"):
        train(words)
    monkeypatch.delitem(sys.modules, "desk_of_mine")
    EPOCH_HOOKS.clear()
    resume = ["training.resume=latest", "training.progress=off"]
    with pytest.raises(RunError, match=r"add 'plugins=\[desk_of_mine\]' to the command"):
        find_resume_point(compose_config(resume), resume)
    named = [*resume, "plugins=[desk_of_mine]"]
    point = find_resume_point(compose_config(named), named)
    assert point is not None and list(point.config.plugins) == ["desk_of_mine"]


SECRETS = [
    "${oc.env:READERS_TOKEN}",
    "x ${oc.env:READERS_TOKEN} ${seed}",
    "${oc.decode:${oc.env:READERS_TOKEN}}",
    "${oc.create:{a: ${oc.env:READERS_TOKEN}}}",
    r"\\${oc.env:READERS_TOKEN}",
    "${tradingbot.tracking_uri:}",
    "${${oc.env:READERS_TOKEN}}",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_resolver_in_a_recorded_configuration_stays_the_text_that_it_is(
    store: Any, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("READERS_TOKEN", "hunter2")
    alter(store.artifacts / "config/config.yaml", lambda tree: tree["experiment"].update(description=text))
    config = load_run(store.run_id).config
    assert config.experiment.description == text
    assert as_recorded(config)["experiment"]["description"] == text
    opened = open_store()
    recipe = read_recipe(opened, find_run(opened, store.run_id))
    assert recipe.tree is not None and recipe.tree["experiment"]["description"] == text
    recipe.tree["training"]["optimizer"] = text
    _write_spec(recipe, tmp_path, None)
    assert OmegaConf.load(tmp_path / "config.yaml").training.optimizer == text


def test_a_trusted_configuration_is_resolved_and_references_to_other_keys_always_are(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READERS_TOKEN", "hunter2")
    said = {"description": "${oc.env:READERS_TOKEN}", "run_name": "lr ${model.learning_rate}"}
    alter(store.artifacts / "config/config.yaml", lambda tree: tree["experiment"].update(said))
    trusted, not_trusted = load_run(store.run_id, trust=True).config, load_run(store.run_id).config
    assert trusted.experiment.description == "hunter2"
    assert not_trusted.experiment.run_name == trusted.experiment.run_name != said["run_name"]


def test_data_that_a_resolver_names_want_trust(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("READERS_FOLDER", str(store.folder))
    data = {"name": "csv", "source": "csv", "path": "${oc.env:READERS_FOLDER}/gone.csv"}
    alter(store.artifacts / "config/config.yaml", lambda tree: tree["data"].update(data))
    for words, said in (([], "give --trust"), (["--trust"], f"there is no file {store.folder}/gone.csv")):
        assert command(["evaluate", store.run_id, "--yes", *words]) == 1
        assert said in capsys.readouterr().err


def test_another_programs_configuration_and_params_are_not_resolved_either(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    monkeypatch.setenv("READERS_TOKEN", "hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir / 'mlflow.db'}")
    with mlflow.start_run() as parent:
        mlflow.log_text("a: {b: 1, list: [2]}\nurl: '${oc.env:READERS_TOKEN}'\n", "config/config.yaml")
    tags = {"mlflow.parentRunId": parent.info.run_id, "study.name": "s"}
    with mlflow.start_run(tags=tags) as trial:
        mlflow.log_params({"a.b": "${oc.env:READERS_TOKEN}", "a.list": "['${oc.env:READERS_TOKEN}']"})
    config = load_run(trial.info.run_id).config
    assert OmegaConf.to_container(config, resolve=True) == {
        "a": {"b": "${oc.env:READERS_TOKEN}", "list": ["${oc.env:READERS_TOKEN}"]},
        "url": "${oc.env:READERS_TOKEN}",
    }


def made(environment: dict[str, Any], **tags: str) -> Any:
    """A recipe as far as a place asks of it."""

    def recorded(*keys: str) -> Any:
        found: Any = environment
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    run = SimpleNamespace(run_id="f" * 32, name="theirs", tags=tags)
    context = SimpleNamespace(recorded=recorded, run=run, patch=None, commit=tags.get("commit"), requirements={})
    launch = environment.get("launch_dir")
    root = environment.get("git", {}).get("root")
    return SimpleNamespace(made=context, tree={}, launch_dir=launch and Path(launch), root=root and Path(root))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONPATH", "/shared"),
        ("LD_PRELOAD", "/shared/x.so"),
        ("PATH", "/shared/bin"),
        ("OMP_TOOL_LIBRARIES", "/shared/x.so"),
        ("CUDA_INJECTION64_PATH", "/shared/x.so"),
        ("TORCH_EXTENSIONS_DIR", "/shared"),
        ("PYTHONSTARTUP", "/shared/x.py"),
        ("BASH_ENV", "/shared/x.sh"),
        ("OMP_NUM_THREADS", "/shared/x"),
    ],
)
def test_a_store_sets_no_variable_of_a_process_but_those_on_a_list(tmp_path: Path, name: str, value: str) -> None:
    place = Place(tmp_path, tmp_path, (), "")
    recorded = {name: value, "MKL_NUM_THREADS": "3", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONHASHSEED": "7"}
    found = environment_of(made({"variables": recorded}), place)
    assert value not in found.get(name, "")
    assert (found["MKL_NUM_THREADS"], found["CUBLAS_WORKSPACE_CONFIG"], found["PYTHONHASHSEED"]) == (
        "3",
        ":4096:8",
        "7",
    )


def test_a_variable_off_the_list_stays_where_it_is_here_as_it_was_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    place = Place(tmp_path, tmp_path, (), "")
    for then, there in (("512", True), ("1024", False)):
        found = environment_of(made({"variables": {"OPENBLAS_L2_SIZE": then}}), place)
        assert ("OPENBLAS_L2_SIZE" in found) == there


@pytest.mark.parametrize("commit", ["--upload-pack=touch executed", "HEAD", "a" * 39, f"{'a' * 40}^{{commit}}", "-h"])
def test_what_is_no_hash_is_never_given_to_git_as_a_commit(tmp_path: Path, commit: str) -> None:
    with (
        pytest.raises(RunError, match=r"is not a commit: the run f+ .* should name one by 40 hexadecimal digits"),
        prepared_place(made({}, commit=commit), tmp_path, trust=True),
    ):
        pass


@pytest.mark.parametrize("launch", ["/repo/../../../elsewhere", "/repo/sub/../../../out", "/repo/out"])
def test_the_folder_that_a_run_was_started_in_is_made_only_inside_its_checkout(
    tmp_path: Path, launch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, scratch, outside = tmp_path / "mine", tmp_path / "scratch", tmp_path / "outside"
    for folder in (repository, scratch, outside):
        folder.mkdir()
    (repository / "out").symlink_to(outside)
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    monkeypatch.chdir(repository)
    commit = git(repository, "rev-parse", "HEAD").strip()
    environment = {"git": {"root": "/repo"}, "launch_dir": launch}
    with (
        pytest.raises(TradingBotError, match="leads out of"),
        prepared_place(made(environment, commit=commit), scratch),
    ):
        pass
    assert list(outside.iterdir()) == [] and "worktree" not in git(repository, "worktree", "list")


def test_uncommitted_changes_that_a_store_keeps_are_not_applied(store: Any) -> None:
    (store.artifacts / "code").mkdir(exist_ok=True)
    (store.artifacts / "code/uncommitted.patch").write_text("diff --git a/src/evil.py b/src/evil.py\n")
    opened = open_store()
    recipe = read_recipe(opened, find_run(opened, store.run_id))
    with pytest.raises(RunError, match=r"uncommitted changes, which the store keeps \(src/evil.py\).*--trust"):
        verify(recipe)


@pytest.mark.parametrize("tree", [{"a": ["${x:y}", 1, None]}, "${a.b} and ${c[0]}", r"\${x:y}", "$5 {a}"])
def test_a_literal_is_read_back_as_it_was(tree: Any) -> None:
    whole = OmegaConf.create({"tree": literal(tree), "a": {"b": "1"}, "c": ["2"]})
    found = OmegaConf.to_container(whole, resolve=True)
    assert found["tree"] == ("1 and 2" if tree == "${a.b} and ${c[0]}" else tree)  # type: ignore[call-overload, index]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the reader's."""
    folder = tmp_path / "of the reader"
    folder.mkdir()
    (folder / "training_report.html").write_text("his")
    (folder / "last.pt").write_text("his")
    return folder


@pytest.mark.parametrize("name", ["report", "report/training_report.html", "report/training_report.html -> new"])
def test_a_report_is_not_written_through_a_link_among_the_artifacts(
    store: Any, outside: Path, name: str, tmp_path: Path
) -> None:
    place, _, new = name.partition(" -> ")
    shutil.rmtree(store.artifacts / "report", ignore_errors=True)
    (store.artifacts / place).parent.mkdir(exist_ok=True)
    (store.artifacts / place).symlink_to(outside if place == "report" else outside / (new or "training_report.html"))
    assert command(["report", "training", store.run_id, "-o", str(tmp_path / "here.html")]) == 0
    assert (tmp_path / "here.html").is_file()
    assert {file.name: file.read_text() for file in outside.iterdir()} == {
        "training_report.html": "his",
        "last.pt": "his",
    }


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/last.pt.new", "checkpoints/last.pt.lock"])
def test_a_checkpoint_is_neither_written_nor_removed_through_a_link(store: Any, outside: Path, name: str) -> None:
    (store.artifacts / name).parent.mkdir(exist_ok=True)
    (store.artifacts / name).symlink_to(outside if name == "checkpoints" else outside / "last.pt")
    run = find_run(open_store(), store.run_id)
    with pytest.raises(TradingBotError, match="leads out of"):
        checkpoint_folder(run.info.artifact_uri, store.run_id)
    assert (outside / "last.pt").read_text() == "his"


@pytest.mark.parametrize(
    "place",
    [
        "{here}",
        "{here}/../{id}/artifacts",
        "{here}/{id}/other",
        "{here}/" + "e" * 32 + "/artifacts",
        "{here}/{id}/artifacts#/../../victim",
        "{here}/{id}/artifacts?x",
        "link",
    ],
)
def test_artifacts_are_looked_for_only_where_mlflow_keeps_those_of_a_run(tmp_path: Path, place: str) -> None:
    if place == "link":
        (tmp_path / ("f" * 32)).mkdir()
        (tmp_path / ("f" * 32) / "artifacts").symlink_to(tmp_path)
        place = "{here}/" + "f" * 32 + "/artifacts"
    with pytest.raises(TradingBotError, match="and that is not followed"):
        local_artifacts(place.format(here=tmp_path, id="f" * 32), "f" * 32)


@pytest.mark.parametrize(
    ("store_uri", "artifacts", "is_asked"),
    [
        ("sqlite:///mlflow.db", "http://evil.example/api/2.0/mlflow-artifacts/artifacts/1", False),
        ("sqlite:///mlflow.db", "mlflow-artifacts://evil.example/1", False),
        ("http://own.example:5000", "https://evil.example/1", False),
        ("http://own.example:5000", "http://own.example:5000/api/2.0/mlflow-artifacts/artifacts/1", True),
        ("http://own.example:5000", "mlflow-artifacts:/1", True),
        ("http://own.example:5000", "mlflow-artifacts://own.example:5000/1", True),
        ("https://own.example", "http://own.example/1", False),
        ("https://own.example", "https://own.example:443/1", True),
        ("http://own.example:5000", "http://own.example:5001/1", False),
        ("sqlite:///mlflow.db", "s3://bucket/1", True),
    ],
)
def test_no_other_web_server_is_asked_for_artifacts(store_uri: str, artifacts: str, is_asked: bool) -> None:
    with nullcontext() if is_asked else pytest.raises(TrackingError, match="That is another server"):
        require_own_server(store_uri, artifacts)


def test_a_store_whose_experiment_keeps_artifacts_on_a_web_server_takes_no_run(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("UPDATE experiments SET artifact_location = 'http://127.0.0.1:9/1'")
        database.commit()
    with pytest.raises(TradingBotError, match="That is another server"):
        train(["data=synthetic", "training=smoke", "experiment.name=Default"])


@pytest.mark.parametrize("opened", ["store", "storage"])
def test_a_database_whose_journal_names_a_file_to_remove_is_not_opened(tmp_path: Path, opened: str) -> None:
    database, victim = tmp_path / "x.db", tmp_path / "thesis.txt"
    victim.write_text("mine")
    name, magic = str(victim).encode(), bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">5I", 0, 1, 1, 512, 512)
    tail = struct.pack(">I", 0x40000000 // 512 + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
    with closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE a (b)")
    database.with_name("x.db-journal").write_bytes(header.ljust(512, b"\0") + tail)
    with pytest.raises(TrackingError, match="names a file that SQLite would remove"):
        open_client(f"sqlite:///{database}") if opened == "store" else check_storage(f"sqlite:///{database}", tmp_path)
    assert victim.read_text() == "mine"
