"""The public names: what they are called, how they are called, and that importing the package costs nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from support import in_ci, python
from torch import nn

import tradingbot_exp
from tradingbot_exp import EnhancedMLflowLogger
from tradingbot_exp.errors import TrackingError

NAMES = [
    "ConfigurationManager",
    "EnhancedMLflowLogger",
    "ExperimentOrganizer",
    "ExperimentReporter",
    "__version__",
    "load_run",
    "run_hpo_study",
    "train",
    "train_model",
]
# Parameters by position, as programs pass them; then methods.
SIGNATURES = {
    "ConfigurationManager": ["config_path", "overrides"],
    "ConfigurationManager.get_config": ["self"],
    "ConfigurationManager.validate": ["self"],
    "ExperimentOrganizer": ["config"],
    "ExperimentOrganizer.start_run": ["self", "run_name", "options"],
    "ExperimentOrganizer.start_study": ["self", "name"],
    "ExperimentOrganizer.start_trial": ["self", "number"],
    "EnhancedMLflowLogger": ["run"],
    "EnhancedMLflowLogger.log_config": ["self", "config", "overrides"],
    "EnhancedMLflowLogger.log_environment_details": ["self"],
    "EnhancedMLflowLogger.log_model_summary": ["self", "model", "filename", "input_shape"],
    "EnhancedMLflowLogger.log_training_history": ["self", "history", "loss"],
    "EnhancedMLflowLogger.log_metrics": ["self", "metrics", "step"],
    "run_hpo_study": ["config", "X_train", "y_train", "X_val", "y_val", "organizer", "logger"],
    "train": ["overrides"],
    "load_run": ["run", "tracking_uri", "trust"],
    "ExperimentReporter": ["mlflow_tracking_uri"],
    "ExperimentReporter.generate_training_report": ["self", "run_id", "output_path", "force"],
    "ExperimentReporter.generate_hpo_report": ["self", "parent_run_id", "output_path", "force"],
    "ExperimentReporter.generate_model_comparison_report": ["self", "run_ids", "output_path", "force"],
}
TRAIN_MODEL = ["model", "X_train", "y_train", "X_val", "y_val", "optimizer", "criterion", "epochs", "logger"]
HEAVY = "('torch', 'mlflow', 'optuna', 'plotly', 'hydra', 'omegaconf', 'pandas', 'numpy')"
LOADED = f"import sys; import tradingbot_exp; {{}}; print([name for name in {HEAVY} if name in sys.modules])"

# What users' files, saved models and configurations name, wherever it really is.
WALLS = {
    "tradingbot_exp.callbacks": ["ExperimentCallback", "TrackingCallback"],
    "tradingbot_exp.config.schema": ["Config", "DataConfig"],
    "tradingbot_exp.data": ["Block", "PreparedData", "prepare_data"],
    "tradingbot_exp.data.features": ["compute_features", "feature"],
    "tradingbot_exp.data.sources": ["load_bars"],
    "tradingbot_exp.errors": [
        "ConfigError",
        "DataError",
        "ReportError",
        "RunError",
        "TrackingError",
        "TradingBotError",
    ],
    "tradingbot_exp.experiment": ["finish", "fit", "prepare"],
    "tradingbot_exp.hpo": ["SearchSpace"],
    "tradingbot_exp.hpo.space": ["SearchSpace"],
    "tradingbot_exp.models": [
        "ACTIVATIONS",
        "build_model",
        "model_names",
        "model_summary",
        "model_version",
        "register",
    ],
    "tradingbot_exp.models.registry": ["activation_class"],
    "tradingbot_exp.plugins": [
        "EPOCH_HOOKS",
        "OWN_METRICS",
        "SOURCES",
        "load_plugins",
        "loss",
        "metric",
        "on_epoch",
        "source",
    ],
    "tradingbot_exp.tracking.saved_model": ["SavedModel", "_load_pyfunc"],
    "tradingbot_exp.train": ["job", "main"],
    "tradingbot_exp.training": ["History", "make_optimizer", "make_progress", "train_model"],
}


def parameters(dotted: str) -> list[str]:
    found = tradingbot_exp
    for name in dotted.split("."):
        found = getattr(found, name)
    return list(inspect.signature(found).parameters)  # type: ignore[arg-type]


def test_the_public_names_are_these() -> None:
    assert tradingbot_exp.__all__ == NAMES
    assert set(NAMES) <= set(dir(tradingbot_exp))


@pytest.mark.parametrize("module", WALLS)
def test_what_others_name_is_imported_from_where_it_was(module: str) -> None:
    found = import_module(module)
    assert [name for name in WALLS[module] if not hasattr(found, name)] == []


def test_no_package_has_the_name_of_a_public_function() -> None:
    packages = {folder.parent.name for folder in Path(tradingbot_exp.__file__).parent.glob("*/__init__.py")}
    assert packages.isdisjoint({*NAMES, "research", "runs", "study"})


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_name_takes_these_parameters_in_this_order(name: str) -> None:
    assert parameters(name) == SIGNATURES[name]


def test_train_model_takes_these_parameters_first() -> None:
    assert parameters("train_model")[: len(TRAIN_MODEL)] == TRAIN_MODEL


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    found = getattr(tradingbot_exp, name)
    assert found.__doc__


LOG_CALLS = {
    "log_config": [{"seed": 1}],
    "log_environment_details": [],
    "log_model_summary": [nn.Sequential(nn.Linear(2, 1)), "model_architecture.txt"],
    "log_training_history": [{"train_loss": [1.0], "val_loss": [1.0]}],
    "log_metrics": [{"final_loss": 1.0}],
    "log_data_characteristics": [[[1.0], [2.0]]],
    "log_predictions": [[1.0, 2.0], [1.0, 2.0]],
    "log_feature_importance": [{"a": 1.0}],
    "log_model": [nn.Sequential(nn.Linear(2, 1))],
}


def test_each_method_of_the_logger_says_so_outside_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger = EnhancedMLflowLogger()
    assert LOG_CALLS.keys() == {name for name in dir(logger) if name.startswith("log_")}
    for name, arguments in LOG_CALLS.items():
        with pytest.raises(TrackingError, match=r"No run is open to log to\. Log inside `with ExperimentOrganizer"):
            getattr(logger, name)(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        tradingbot_exp.trian  # noqa: B018
    with pytest.raises(ImportError):
        from tradingbot_exp import nothing  # noqa: F401


def test_importing_the_package_loads_no_heavy_library(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", LOADED.format("dir(tradingbot_exp)"), fresh=True)
    assert (done.out, done.status) == ("[]\n", 0), done.err


def test_the_check_for_heavy_libraries_can_fail(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", LOADED.format("tradingbot_exp.ConfigurationManager"), fresh=True)
    assert "hydra" in done.out, done.err


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import tradingbot_exp.train",
        "from tradingbot_exp.train import main",
        "import tradingbot_exp; tradingbot_exp.train",
        "import tradingbot_exp.api.notebook",
        "import tradingbot_exp.train, importlib; importlib.reload(tradingbot_exp.train)",
    ],
)
def test_train_can_be_called_however_the_command_of_that_name_was_imported(before: str, tmp_path: Path) -> None:
    program = (
        f"{before}\nfrom tradingbot_exp import train\nfrom tradingbot_exp.errors import ConfigError\n"
        "import inspect, tradingbot_exp\nassert tradingbot_exp.train is train\n"
        "assert list(inspect.signature(train).parameters) == ['overrides']\n"
        "try:\n    train(['training.epochs=0'])\nexcept ConfigError as error:\n    print(error)\n"
        "from tradingbot_exp.train import main\nimport tradingbot_exp.train as module\nassert module.main is main\n"
    )
    done = python(tmp_path, "-c", program)
    assert done.out == "training.epochs must be 1 or more; got 0.\n", done.err
    assert list(tmp_path.iterdir()) == []


@in_ci
def test_a_type_checker_knows_the_public_names(tmp_path: Path) -> None:
    program = tmp_path / "theirs.py"
    program.write_text(
        "from tradingbot_exp import ConfigurationManager, load_run, train\n"
        "reveal_type(ConfigurationManager().get_config().training.epochs)\n"
        "reveal_type(train(['seed=1']).metrics)\n"
        "reveal_type(load_run('latest').run_id)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    revealed = [line.partition('Revealed type is "')[2] for line in done.stdout.splitlines() if "Revealed" in line]
    assert [text.split('"')[0].replace("builtins.", "") for text in revealed] == ["int", "dict[str, float]", "str"]
