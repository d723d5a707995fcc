"""The layers are kept, by the linter that `make check` runs and by what the source says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from import_graph import Source
from support import REPOSITORY, clean_environment

SOURCE = Source(REPOSITORY / "src")
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
LAYERS = [[name.strip() for name in line.split("|")] for line in CONTRACTS["Layers"]["layers"]]
HEAVY = {"torch", "mlflow", "optuna", "plotly", "pandas", "numpy", "scipy", "sklearn", "skops", "sqlalchemy", "hydra"}
# What comes with a library in any case.
BRINGS = {
    "mlflow": {"numpy", "pandas"},
    "pandas": {"numpy"},
    "torch": {"numpy"},
    "optuna": {"numpy"},
    "scipy": {"numpy"},
    "sklearn": {"numpy", "scipy"},
    "skops": {"numpy", "scipy", "sklearn"},
}


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=tree,
        env=clean_environment({"PYTHONPATH": str(tree / "src")}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source and of the contracts."""
    ignored = shutil.ignore_patterns("__pycache__", "*.csv", "*.j2")
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_check_holds_for_the_tree_as_it_is(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("file", "code", "broken"),
    [
        ("config/paths.py", "import tradingbot_exp.hpo.loop", "tradingbot_exp.config is not allowed to import"),
        (
            "data/card.py",
            "def f():\n    import tradingbot_exp.tracking.run_names",
            "tradingbot_exp.data is not allowed",
        ),
        (
            "models/registry.py",
            "if TYPE_CHECKING:\n    from tradingbot_exp.data.card import data_card",
            "tradingbot_exp.models is not allowed to import tradingbot_exp.data",
        ),
        ("reporting/reporter.py", "def f():\n    import tradingbot_exp.hpo", "tradingbot_exp.reporting is not allowed"),
        ("callbacks/tracking.py", "import hydra_plugins.tradingbot_exp.stacked", "tradingbot_exp.callbacks is not"),
        ("hpo/loop.py", "def f():\n    import mlflow", "tradingbot_exp.hpo.loop -> mlflow"),
        ("hpo/loop.py", "if TYPE_CHECKING:\n    import hydra", "tradingbot_exp.hpo.loop -> hydra"),
        ("tracking/run_names.py", "import plotly", "tradingbot_exp.tracking.run_names -> plotly"),
        ("reporting/page/page.py", "import optuna", "tradingbot_exp.reporting.page.page -> optuna"),
        (
            "tracking/store/places.py",
            "import tradingbot_exp.tracking.writing.run",
            "tradingbot_exp.tracking.store is not",
        ),
        ("reporting/newer.py", "import tradingbot_exp.reporting.reporter", "- tradingbot_exp.reporting.newer"),
    ],
)
def test_an_import_upwards_or_sideways_or_of_a_library_out_of_place_fails_the_check(
    tree: Path, file: str, code: str, broken: str
) -> None:
    with (tree / "src" / "tradingbot_exp" / file).open("a", encoding="utf-8") as source:
        source.write(f"\n\nfrom typing import TYPE_CHECKING\n{code}\n")
    done = lint(tree)
    assert done.returncode == 1 and broken in done.stdout, done.stdout


def test_every_part_of_the_package_stands_in_the_contracts_which_exempt_nothing() -> None:
    parts = {name for name in SOURCE.files if name.count(".") == 1}
    assert {name for line in LAYERS for name in line} == parts
    knowing = {
        "mlflow": {"tracking"},
        "hydra": {"config", "callbacks", "train"},
        "plotly": {"plots", "reporting"},
        "optuna": {"hpo", "reporting"},
    }
    found = {}
    for contract in CONTRACTS.values():
        assert "ignore_imports" not in contract
        if contract["type"] == "forbidden":
            (library,) = contract["forbidden_modules"]
            free = {f"tradingbot_exp.{name}" for name in knowing[library]}
            free |= {"hydra_plugins.tradingbot_exp"} if library == "hydra" else set()
            found[library] = set(contract["source_modules"])
            assert {name for name in found[library] if name.count(".") == 1} == parts - free
    assert set(found) == set(knowing)
    reports = {name for name in SOURCE.files if name.startswith("tradingbot_exp.reporting.") and name.count(".") == 2}
    assert {name for name in found["optuna"] if name.count(".") == 2} == reports - {"tradingbot_exp.reporting.study"}


def test_what_names_our_modules_in_a_text_names_one_that_is_there_and_not_above_it() -> None:
    rank = {part: position for position, line in enumerate(LAYERS) for part in line}
    # The program that runs old commits names modules of theirs.
    others = SOURCE.files.keys() - {"tradingbot_exp.replay"}
    named = [(module, text) for module in others for text in SOURCE.texts(module)]
    assert len(named) > 20
    for module, text in named:
        target = SOURCE.module_of(text)
        assert target is not None and target != "tradingbot_exp", f"{module} names {text}, which is not there"
        if SOURCE.files[module].name != "__init__.py":  # whose names are handed on lazily
            parts = [".".join(name.split(".")[:2]) for name in (module, target)]
            is_command = text == "tradingbot_exp.train"  # typed by a user, not imported
            assert is_command or parts[0] == parts[1] or rank[parts[0]] < rank[parts[1]], (
                f"{module} names {text}, above it"
            )


def test_a_package_hands_on_what_it_says_and_types_it() -> None:
    lazy = [name for name, file in SOURCE.files.items() if "lazily(" in file.read_text() and name.count(".") < 3]
    for name in (each for each in lazy if SOURCE.files[each].name == "__init__.py"):
        package = import_module(name)
        for public in package.__all__:
            found = getattr(package, public)
            typed = SOURCE.module_of(f"{name}.{public}")
            home = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", typed)
            assert public in dir(package) and (home == typed or public in ("ACTIVATIONS", "__version__", "train"))


def test_no_files_import_each_other_in_a_circle() -> None:
    assert len(SOURCE.imports) > 1000
    assert SOURCE.circles() == []


def test_the_top_level_is_short_and_so_is_each_file() -> None:
    folder = REPOSITORY / "src" / "tradingbot_exp"
    modules = [file.name for file in folder.glob("*.py") if file.stem not in ("__init__", "__main__")]
    assert sorted(modules) == ["errors.py", "plugins.py", "replay.py", "train.py"]  # at most six
    lines = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in SOURCE.files.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_a_function_imports_our_own_code_only_where_a_heavy_library_is_behind_it() -> None:
    local = {}
    for each in SOURCE.imports:
        if each.is_local:
            local.setdefault((each.module, each.line), set()).add(each.target)
    assert len(local) <= 60  # may become fewer, never more
    needless = {
        (module.removeprefix("tradingbot_exp."), target.removeprefix("tradingbot_exp."))
        for (module, _), targets in local.items()
        for target in targets
        if not set().union(*map(_heavy, targets)) - _heavy(module)
    }
    assert needless == set()


def _heavy(module: str) -> set[str]:
    found = SOURCE.libraries(module) & HEAVY
    return found.union(*(BRINGS.get(library, set()) for library in found))
