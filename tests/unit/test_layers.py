"""The layers are kept, by the linter that `make check` runs and by what the source says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from import_graph import Source
from support import REPOSITORY, clean_environment

SOURCE = Source(REPOSITORY / "src")
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
# Loaded before a command knows whether there is work to do: what their functions import waits for the work.
START = ("tradingbot_exp.train", "tradingbot_exp.callbacks", "hydra_plugins.tradingbot_exp")
HEAVY = {"torch", "mlflow", "optuna", "plotly", "pandas", "numpy", "scipy", "sklearn", "skops", "sqlalchemy", "hydra"}
# What comes with a library in any case.
BRINGS = {
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
    layers = {name.strip() for line in CONTRACTS[0]["layers"] for name in line.split("|")}
    parts = {name for name in SOURCE.files if name.count(".") == 1}
    assert layers == parts
    for contract in CONTRACTS[1:]:
        (library,) = contract["forbidden_modules"]
        allowed = {
            "mlflow": {"tracking"},
            "hydra": {"config", "callbacks", "train"},
            "plotly": {"plots", "reporting"},
            "optuna": {"hpo", "reporting"},
        }[library]
        sources = {name for name in contract["source_modules"] if name.count(".") == 1}
        free = {f"tradingbot_exp.{name}" for name in allowed} | ({"hydra_plugins.tradingbot_exp"} & (parts - sources))
        assert sources == parts - free and (library == "hydra" or "hydra_plugins.tradingbot_exp" in sources)
    of_reports = {name for name in CONTRACTS[4]["source_modules"] if name.count(".") == 2}
    folder = {name for name in SOURCE.files if name.startswith("tradingbot_exp.reporting.") and name.count(".") == 2}
    assert of_reports == folder - {"tradingbot_exp.reporting.study"}
    assert not any("ignore_imports" in contract for contract in CONTRACTS)


def test_no_files_import_each_other_in_a_circle() -> None:
    assert len(SOURCE.imports) > 1000
    assert SOURCE.circles() == []


def test_the_top_level_is_short_and_so_is_each_file() -> None:
    folder = REPOSITORY / "src" / "tradingbot_exp"
    modules = [file.name for file in folder.glob("*.py") if file.stem not in ("__init__", "__main__")]
    assert len(modules) <= 6, modules
    lines = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in SOURCE.files.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_a_function_imports_our_own_code_only_where_a_heavy_library_is_behind_it() -> None:
    local = {}
    for each in SOURCE.imports:
        if each.is_local:
            local.setdefault((each.module, each.line), set()).add(each.target)
    assert 0 < len(local) <= 100
    needless = [
        f"{module}:{line}"
        for (module, line), targets in local.items()
        if not set().union(*(_heavy(target, module.startswith(START)) for target in targets)) - _heavy(module)
    ]
    assert needless == []


def _heavy(module: str, in_use: bool = False) -> set[str]:
    found = SOURCE.libraries(module, in_use) & HEAVY
    return found.union(*(BRINGS.get(library, set()) for library in found))
