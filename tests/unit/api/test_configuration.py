"""ConfigurationManager: the guide's files load as they stand, what is wrong is refused by line, one hash a config."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import REPOSITORY, Finished, in_ci, python

from tradingbot_exp.api.configuration import ConfigurationManager
from tradingbot_exp.config.finalize import config_sha256, finalize, flatten
from tradingbot_exp.config.overrides import quote
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError

GUIDE = """\
experiment:
  name: mine
  tags:
    project: TradingBot
    model_type: feedforward
    task: regression
model:
  input_dim: 20
  hidden_layers: [128, 64]
  output_dim: 1
  activation: relu
training:
  epochs: 7
  batch_size: 16
  learning_rate: 1e-2
  optimizer: Adam
hpo:
  num_trials: 3
  param_space:
    learning_rate: [0.0001, 0.001]
    hidden_layers: [[64], [32, 16]]
"""
FINGERPRINT = "f" * 32
TEMPLATES = ("basic_training_example", "hpo_example")
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return file

    return write


def loaded(path: Path | None, *overrides: str) -> Config:
    return ConfigurationManager(path, overrides).get_config()


def by_command(*overrides: str) -> Config:
    """What the command line makes of overrides: Hydra's own composition, then the checks."""
    with initialize_config_dir(str(conf_dir())):
        return finalize(compose("config", list(overrides)), overrides)


def test_the_guides_file_loads_as_it_stands_over_the_defaults(write: Write) -> None:
    config = loaded(write(GUIDE))
    assert config.model.hidden_layers[0] == 128 and config.model.input_dim == 20
    assert config.training.epochs == 7 and config.training.learning_rate == config.model.learning_rate == 0.01
    assert config.experiment.tags["model_type"] == "feedforward"
    # A file's search space is the whole of it.
    assert config.hpo.param_space == {"learning_rate": [0.0001, 0.001], "hidden_layers": [[64], [32, 16]]}
    assert (config.seed, config.training.loss, config.hpo.sampler) == (42, "mse", "tpe")
    ConfigurationManager(write(GUIDE)).validate()


def test_without_a_file_it_is_the_default_composition() -> None:
    assert ConfigurationManager().get_config() == by_command()


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_examples_files_are_the_templates_of_the_command_line(name: str) -> None:
    expected = by_command(f"experiment={name}")
    assert loaded(REPOSITORY / "examples" / f"{name}.yaml") == expected
    assert loaded(conf_dir() / "experiment" / f"{name}.yaml") == expected


def test_overrides_come_after_the_file_and_options_of_groups_before_it(write: Write) -> None:
    config = loaded(write(GUIDE), "training.epochs=2", "model=lstm", "hpo=random", "+experiment.tags.desk=fx")
    assert config.training.epochs == 2 and config.experiment.tags["desk"] == "fx"
    assert config.model.name == "lstm" and config.model.hidden_layers == [128, 64]
    assert config.hpo.sampler == "random" and config.hpo.num_trials == 3


def test_a_config_is_a_new_object_each_time_and_the_file_is_read_anew(write: Write) -> None:
    manager = ConfigurationManager(write(GUIDE))
    manager.get_config().training.epochs = 99
    assert manager.get_config().training.epochs == 7
    write("training: {epochs: 8}")
    assert manager.get_config().training.epochs == 8


def test_a_relative_path_is_of_the_directory_that_it_was_given_in(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(write(GUIDE).parent)
    manager = ConfigurationManager("mine.yaml")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = manager.get_config()
    assert config.training.epochs == 7
    assert config.tracking.uri == f"sqlite:///{tmp_path}/elsewhere/mlflow.db"


@pytest.mark.parametrize(
    ("body", "overrides", "value"),
    [
        ("model: {learning_rate: 0.02}", [], 0.02),
        ("training: {learning_rate: 0.02}", [], 0.02),
        ("model: {learning_rate: 0.02}\ntraining: {learning_rate: 2e-2}", [], 0.02),
        ("training: {learning_rate: '${model.learning_rate}'}", [], 0.001),
        ("training: {learning_rate: '${model.learning_rate}'}", ["model.learning_rate=0.3"], 0.3),
        ("model: {learning_rate: 0.02}\ntraining: {learning_rate: '${model.learning_rate}'}", [], 0.02),
        ("training: {learning_rate: 0.02}", ["model.learning_rate=0.3"], 0.3),
        ("model: {learning_rate: 0.02}", ["training.learning_rate=0.3"], 0.3),
        # The template's training.learning_rate is of an earlier level than the file.
        ("model: {learning_rate: 0.02}", ["experiment=basic_training_example"], 0.02),
    ],
)
def test_the_learning_rate_set_last_counts_for_both(
    write: Write, body: str, overrides: list[str], value: float
) -> None:
    config = loaded(write(body), *overrides)
    assert config.model.learning_rate == config.training.learning_rate == value


def test_nothing_is_checked_against_market_data_unless_the_file_or_an_override_is_about_them(write: Write) -> None:
    arrays = write("model: {input_dim: 20}\ntraining: {loss: bce}")
    assert loaded(arrays).model.input_dim == 20
    for ours in (["data=msft"], ["data.horizon=2"]):
        with pytest.raises(ConfigError, match=r"training.loss=bce is for 0/1 targets"):
            loaded(arrays, *ours)
    with pytest.raises(ConfigError, match=r"mine.yaml, line 1: model.input_dim=20"):
        loaded(write("model: {input_dim: 20}\ndata: {horizon: 1}"))
    missing = write("data: {source: csv, path: not-there.csv}")
    assert loaded(missing).data.path == "not-there.csv"  # the file of bars is looked for when it is used


def test_a_runs_own_config_file_loads_and_has_the_runs_hash(default_run: Finished) -> None:
    config = loaded(default_run.artifacts() / "config" / "config.yaml")
    tags = default_run.run.data.tags
    assert config_sha256(config, tags["data.fingerprint"]) == tags["config.sha256"]
    assert config.tracking.uri == f"sqlite:///{default_run.cwd / 'mlflow.db'}"


def test_a_password_that_was_masked_when_the_file_was_kept_has_to_be_given_again(write: Write) -> None:
    kept = write("tracking:\n  uri: postgresql://***@host/name\n")
    with pytest.raises(ConfigError, match=r"mine.yaml, line 2: tracking.uri=.* Give the whole address"):
        loaded(kept)
    assert loaded(kept, "tracking.uri=postgresql://me:pw@host/name").tracking.uri.endswith("me:pw@host/name")


def test_no_message_holds_a_password(write: Write) -> None:
    address = "ftp://me:hidden77@host/name"
    for text, overrides in (
        (f"tracking:\n  uri: {address}\n", []),
        (f"tracking:\n  uri: {address} : x\n", []),
        ("seed: 1\n", [f"tracking.uri={address}"]),
    ):
        with pytest.raises(ConfigError) as caught:
            loaded(write(text), *overrides)
        assert "hidden77" not in str(caught.value)


# One hash.

SAME = {
    "data": {"horizon": 2, "name": "ibm"},
    "model": {"dropout": 0.1, "hidden_layers": [8, 4], "learning_rate": 0.005},
    "training": {"epochs": 3, "gradient_clip": 1, "weight_decay": 1e-4},
    "evaluation": {"periods_per_year": 252},
    "seed": 7,
}
WORDS = [
    *("data.horizon=2", "data.name=ibm", "model.dropout=0.1", "model.hidden_layers=[8,4]"),
    *("model.learning_rate=0.005", "training.epochs=3", "training.gradient_clip=1", "training.weight_decay=1e-4"),
    *("evaluation.periods_per_year=252", "seed=7"),
]
EXPECTED = config_sha256(by_command(*WORDS), FINGERPRINT)


def shuffled(tree: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Every order of a mapping's keys, and of those of the mappings in it."""
    inner = {key: shuffled(value) if isinstance(value, dict) else st.just(value) for key, value in tree.items()}
    return st.permutations(list(tree)).flatmap(lambda keys: st.fixed_dictionaries({key: inner[key] for key in keys}))


@in_ci
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=shuffled(SAME), words=st.permutations(WORDS), split=st.integers(0, len(WORDS)))
def test_one_config_has_one_hash_in_any_order_of_keys(
    tmp_path: Path, tree: dict[str, Any], words: list[str], split: int
) -> None:
    file = tmp_path / "same.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    assert config_sha256(loaded(file), FINGERPRINT) == EXPECTED
    assert config_sha256(loaded(None, *words), FINGERPRINT) == EXPECTED
    assert config_sha256(loaded(file, *words[:split]), FINGERPRINT) == EXPECTED


def test_one_config_has_one_hash_in_any_spelling(write: Write) -> None:
    flow = write(json.dumps(SAME))
    assert config_sha256(loaded(flow), FINGERPRINT) == EXPECTED
    aliased = "training: {epochs: 3, gradient_clip: 1.0, weight_decay: 0.0001, learning_rate: 5.0e-3}\n"
    other = write(f"{aliased}data: {{horizon: 2}}\nmodel: {{dropout: 1e-1, hidden_layers: [8, 4]}}\nseed: 7\n")
    assert config_sha256(loaded(other, "evaluation.periods_per_year=252.0"), FINGERPRINT) == EXPECTED
    assert config_sha256(loaded(other, "evaluation.periods_per_year=253"), FINGERPRINT) != EXPECTED
    in_python = loaded(other)
    in_python.evaluation.periods_per_year, in_python.training.gradient_clip = 252.0, 1
    assert config_sha256(in_python, FINGERPRINT) == EXPECTED


# Bad input.

REFUSED = {
    "not YAML": ("seed: [1\n", ["line 2", "not YAML", "begins on line 1"]),
    "a stray colon": ("model: a: b\n", ["line 1", "not YAML", "colon", "'model: a: b'"]),
    "empty": ("\n  \n", ["the file is empty", "training:"]),
    "comments alone": ("# nothing\n", ["nothing but comments"]),
    "a tab": ("training:\n\tepochs: 3\n", ["line 2", "a tab", "spaces"]),
    "a tab after spaces": ("training:\n  \tepochs: 3\n", ["line 2", "a tab"]),
    "a key twice": ("training:\n  epochs: 3\n  epochs: 4\n", ["line 3", "'training.epochs'", "twice", "line 2"]),
    "a block twice": ("seed: 1\ntraining: {}\nseed: 2\n", ["line 3", "'seed'", "twice"]),
    "a lost interpolation": (
        "training:\n  epochs: ${training.epoch}\n",
        ["line 2", "training.epochs refers to 'training.epoch'", "Did you mean 'training.epochs'?"],
    ),
    "a circle": ("seed: ${seed}\n", ["line 1", "seed refers to itself"]),
    "half an interpolation": ("seed: ${model\n", ["line 1", "seed begins a reference"]),
    "no value": ("seed: ???\n", ["line 1", "seed is '???'"]),
    "a second document": ("seed: 1\n---\nseed: 2\n", ["line 2", "second document"]),
    "a list": ("- training\n", ["the file is a list", "blocks of keys"]),
    "a text": ("training\n", ["the file is a single value"]),
    "an unknown block": ("seed: 1\nmodle:\n  dropout: 0.1\n", ["line 2", "modle", "Did you mean 'model'?"]),
    "an unknown key": ("training:\n  epoch: 3\n", ["line 2", "training.epoch ", "Did you mean 'training.epochs'?"]),
    "a key in the wrong block": ("training:\n  dropout: 0.1\n", ["line 2", "There is model.dropout"]),
    "a key outside its block": ("epochs: 3\n", ["line 1", "There is training.epochs"]),
    "a dotted key": ("training.epochs: 3\n", ["line 1", "Write it in its block", "'training:'"]),
    "Hydra's own block": ("hydra: {job: {name: x}}\n", ["line 1", "hydra is not a key"]),
    "a wrong type": ("training:\n  epochs: many\n", ["line 2", "training.epochs must be a whole number; got 'many'"]),
    "half an epoch": ("training:\n  epochs: 2.5\n", ["line 2", "training.epochs must be a whole number; got '2.5'"]),
    "a wrong type in a list": (
        "model:\n  hidden_layers:\n    - 4\n    - x\n",
        ["line 2", "model.hidden_layers[1] must be a whole number"],
    ),
    "no list": ("model:\n  hidden_layers: 64\n", ["line 2", "model.hidden_layers must be a list"]),
    "null for a value": ("model:\n  dropout:\n", ["line 2", "model.dropout must have a value"]),
    "an empty block": ("seed: 1\ntraining:\n", ["line 2", "training has nothing below it"]),
    "a value for a block": ("training: 5\n", ["line 1", "training is a single value (5)", "block of keys"]),
    "an option for a block": ("model: lstm\n", ["line 1", "override 'model=lstm'"]),
    "a list of tags": ("experiment:\n  tags: [a]\n", ["line 2", "experiment.tags is a list"]),
    "true as a key": ("experiment:\n  tags:\n    on: 1\n", ["line 3", "on stands as a key", '"on"']),
    "an impossible value": ("training:\n  epochs: 0\n", ["line 2", "training.epochs must be 1 or more; got 0"]),
    "an unknown name": (
        "training:\n  optimizer: adam\n",
        ["line 2", "training.optimizer must be", "Did you mean 'Adam'?"],
    ),
    "two learning rates": (
        "model:\n  learning_rate: 0.1\ntraining:\n  learning_rate: 0.2\n",
        ["line 2", "model.learning_rate=0.1 and training.learning_rate=0.2 differ", "one value"],
    ),
    "another list of defaults": ("defaults: [base]\n", ["line 1", "defaults has the entry base"]),
    "an alias of itself": ("experiment: &a\n  tags: *a\n", ["refers to itself"]),
    "a deep nest": ("[" * 50_000, ["nested too deeply"]),
    "aliases that multiply": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{b}: &{b} [{','.join(f'*{a}' for _ in range(10))}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
        ),
        ["more than 10000 values"],
    ),
    "a control character": ("seed: 1\nmodel: \x07\n", ["line 2", "not YAML"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_by_name_and_line(case: str, write: Write) -> None:
    text, expected = REFUSED[case]
    file = write(text)
    for check in (ConfigurationManager(file).get_config, ConfigurationManager(file).validate):
        with pytest.raises(ConfigError) as caught:
            check()
        for part in (str(file), *expected):
            assert part in str(caught.value)


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.mkdir [{made}]",
        "!!python/object/new:os.mkdir [{made}]",
        "!!python/object/apply:pathlib.Path [{made}]",
        "!!python/name:os.mkdir",
        "!!binary aGk=",
        "!mine x",
    ],
)
def test_a_tag_is_refused_and_never_executed(tagged: str, write: Write, tmp_path: Path) -> None:
    made = tmp_path / "made"
    file = write("experiment:\n  tags:\n    a:\n      - 1\n      - " + tagged.replace("{made}", str(made)) + "\n")
    with pytest.raises(ConfigError, match=r"line 5: experiment.tags.a has the tag !.*no object is made"):
        loaded(file)
    assert not made.exists()


def test_the_tag_of_that_test_would_be_executed_by_an_unsafe_loader(tmp_path: Path) -> None:
    yaml.unsafe_load(f"!!python/object/apply:os.mkdir [{tmp_path / 'made'}]")
    assert (tmp_path / "made").is_dir()


def test_a_large_file_is_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(100 * 1024**2)

    def unread(*args: object, **kwargs: object) -> object:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(Path, "open", unread)
    with pytest.raises(ConfigError, match=r"large.yaml: the file has 100.0 MiB; a configuration has at most 256 KiB"):
        loaded(file)


def test_what_is_no_file_is_refused(tmp_path: Path, write: Write) -> None:
    write(GUIDE)
    os.mkfifo(tmp_path / "pipe")
    for name, text in (
        ("", "this is a directory"),
        ("pipe", "not a regular file"),
        ("mien.yml", "no such file. Did you mean 'mine.yaml'?"),
        ("other.yaml", "no such file."),
        ("no/such/folder.yaml", "no such file."),
        ("mine.yaml/below", "cannot be read: Not a directory"),
        ("nul\0", "cannot be read"),
    ):
        with pytest.raises(ConfigError) as caught:
            loaded(tmp_path / name)
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("seed: 1\nexperiment: {name: café}\n".encode("latin-1"), "line 2: the byte 0xe9 is no UTF-8"),
        ("seed: 1\n".encode("utf-16"), "line 1: the byte 0xff is no UTF-8. Save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no UTF-8"),
        (b"seed: 1\0\n", "not YAML"),
    ],
)
def test_bytes_that_are_no_utf8_text_are_refused(content: bytes, text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        loaded(file)


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbfseed: 3\r\ntraining:\r\n  epochs: 4\r\n")
    assert (loaded(file).seed, loaded(file).training.epochs) == (3, 4)


def test_a_search_space_that_cannot_be_searched_is_refused_by_validate(write: Write) -> None:
    manager = ConfigurationManager(write("hpo:\n  param_space:\n    learnin_rate: [0.1, 0.2]\n"))
    with pytest.raises(ConfigError, match=r"line 3: hpo.param_space.learnin_rate .*'learning_rate'"):
        manager.validate()


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["data={split: {trian: 1}}"], "data.split.trian is not a key of the configuration."),
        (["data.options={a: 1}"], "To add it, write +data.options.a=VALUE"),
        (["training.epoch=3"], "training.epoch is not a key of the configuration. Did you mean 'training.epochs'?"),
        (["+training.epoch=3"], "Did you mean 'training.epochs'?"),
        (["+nothing=3"], "nothing is not a key"),
        (["+model.nothing=3"], "model.nothing is not a key"),
        (["training.epochs=0"], "training.epochs must be 1 or more; got 0"),
        (["model=mlpp"], "Did you mean 'mlp'?"),
        (["epochs"], "Write KEY=VALUE"),
        (["seed=1", ""], "'' is not a setting. Write KEY=VALUE"),
        (["--multirun"], "an option of the command line"),
        (["--training.epochs", "3"], "training.epochs=3"),
        (["seed=1,2"], "a sweep over several values"),
        (["hpo.param_space.learning_rate=interval(0.1,0.2)"], "='interval(0.1,0.2)'"),
        (["hydra.run.dir=x"], "hydra.run.dir=x steers Hydra"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib steers Hydra"),
        ("seed=1", "expected is a list of texts"),
        ([1], "expected is a list of texts"),
        (["model.learning_rate=0.1", "training.learning_rate=0.2"], "differ"),
    ],
)
@pytest.mark.parametrize("with_file", [False, True])
def test_a_bad_override_is_refused_and_not_blamed_on_the_file(
    overrides: Any, text: str, with_file: bool, write: Write
) -> None:
    file = write("training:\n  epochs: 3\n  learning_rate: 0.1\n") if with_file else None
    with pytest.raises(ConfigError) as caught:
        ConfigurationManager(file, overrides).get_config()
    assert text in str(caught.value) and "mine.yaml" not in str(caught.value)


# What is left behind.


def test_hydra_is_left_as_it_was_with_and_without_one_in_use(write: Write) -> None:
    file = write(GUIDE)
    loaded(file)
    assert not GlobalHydra.instance().is_initialized() and not HydraConfig.initialized()
    with initialize_config_dir(str(conf_dir()), job_name="theirs"):
        theirs = GlobalHydra.instance().hydra
        loaded(file)
        with pytest.raises(ConfigError):
            loaded(file, "nothing=1")
        assert GlobalHydra.instance().hydra is theirs
        assert JobRuntime.instance().get("name") == "theirs"
        assert compose("config", ["seed=5"]).seed == 5


def test_loading_a_file_imports_no_heavy_library(tmp_path: Path, write: Write) -> None:
    program = (
        "import sys; from tradingbot_exp import ConfigurationManager;"
        f"ConfigurationManager({str(write(GUIDE))!r}).get_config();"
        "print([name for name in ('torch', 'mlflow', 'optuna', 'plotly', 'pandas') if name in sys.modules])"
    )
    done = python(tmp_path, "-c", program, fresh=True)
    assert done.out == "[]\n", done.err


def test_defaults_that_are_restated_change_no_hash(write: Write) -> None:
    base = by_command()
    expected = config_sha256(base, FINGERPRINT)
    tree = {name: value for name, value in asdict(base).items() if name not in ("tracking", "hpo", "experiment")}
    whole = write(yaml.safe_dump(tree, sort_keys=False))
    assert config_sha256(loaded(whole), FINGERPRINT) == expected
    words = [f"{key}={quote(value)}" for key, value in flatten(tree) if value != {}]
    assert config_sha256(by_command(*words), FINGERPRINT) == expected
    assert config_sha256(loaded(None, *reversed(words)), FINGERPRINT) == expected
    for same in ("training.early_stopping=off", "training.gradient_clip=none", "training.early_stopping=false"):
        assert config_sha256(by_command(same), FINGERPRINT) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_one_hash_on_the_command_line_and_as_a_file(name: str) -> None:
    by_name = by_command(f"experiment={name}", "data=ibm")
    as_file = loaded(conf_dir() / "experiment" / f"{name}.yaml", "data=ibm")
    assert config_sha256(by_name, FINGERPRINT) == config_sha256(as_file, FINGERPRINT)
    other = by_command(f"experiment={name}", "data=ibm", "seed=7")
    assert config_sha256(other, FINGERPRINT) != config_sha256(by_name, FINGERPRINT)
