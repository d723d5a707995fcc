"""Every command and program that the documentation shows runs, page by page and in order."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from support import REPOSITORY, clean_environment, in_ci

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
KINDS = ("bash", "python", "yaml", "text")
# Pages whose commands are run in the folder of the example package.
IN_EXAMPLE = "extending"
_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]*?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, its text, and the reason not to run it, if there is one."""

    kind: str
    text: str
    reason: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page, in order."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(found["kind"], found["text"], found["reason"])


def commands(text: str) -> list[str]:
    """Give the commands of a bash block, those of several lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def quick(command: str) -> str:
    """Shorten a command that would train for long: nothing that a reader would see depends on the epochs."""
    trains = command.startswith("python -m tradingbot_exp.train ") or command == "python -m tradingbot_exp.train"
    bare = shlex.join(shlex.split(command, comments=True))
    if not trains or any(word in command for word in ("training.epochs", "training.resume", "--help")):
        return bare
    return f"{bare} training.epochs=2"


def steps(page: Path, folder: Path) -> list[dict[str, str]]:
    """Give what is run of a page, in `folder`."""
    found = []
    for block in blocks(page):
        if block.reason is not None or block.kind not in ("bash", "python"):
            continue
        texts = [block.text] if block.kind == "python" else [quick(each) for each in commands(block.text)]
        found += [{"folder": str(folder), "kind": block.kind, "text": text} for text in texts]
    return [step for step in found if not step["text"].startswith("make ")]


def prepare(folder: Path, page: Path, store: Path) -> None:
    """Make the directory that a page's commands are run in: a store, and files of the names that pages use."""
    if IN_EXAMPLE in page.parts:
        shutil.copytree(REPOSITORY / "examples" / "extending", folder)
    else:
        shutil.copytree(REPOSITORY / "examples", folder / "examples")
    shutil.copy(store, folder / "mlflow.db")
    load_bars(DataConfig(name="ibm")).frame.to_csv(folder / "bars.csv")
    values = np.random.default_rng(0).normal(size=(400, 4))
    table = pd.DataFrame(values, columns=["a", "b", "y", "r"], index=pd.date_range("2020-01-01", periods=400))
    table.rename_axis("date").assign(r=0.01 * values[:, 3]).to_parquet(folder / "table.parquet")


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@in_ci
def test_every_command_and_program_of_every_page_runs(tmp_path: Path, store_template: Path) -> None:
    planned: list[tuple[Path, dict[str, str]]] = []
    for number, page in enumerate(PAGES):
        folder = tmp_path / f"{number}-{page.stem}"
        prepare(folder, page, store_template)
        planned += [(page, step) for step in steps(page, folder)]
    host = [sys.executable, str(Path(__file__).with_name("host.py"))]
    asked = json.dumps([step for _, step in planned])
    done = subprocess.run(
        host, input=asked, env=clean_environment(), capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    for (page, step), answer in zip(planned, json.loads(done.stdout), strict=True):
        assert answer["status"] == 0, f"{name(page)}: {step['text']}\n{answer['output']}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_has_a_kind_and_what_is_not_run_a_reason(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") + text.startswith("```") == 2 * len(list(blocks(page)))
    for block in blocks(page):
        assert block.kind in KINDS, block.text
        assert block.reason is None or len(block.reason) > 10
        if block.kind == "yaml":
            assert yaml.safe_load(block.text)
        if block.kind == "bash":
            assert commands(block.text), block.text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert "://" in target or (page.parent / target).exists(), target
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for block in blocks(page):
        for command in commands(block.text) if block.kind == "bash" else []:
            if command.startswith("make "):
                assert f"\n{command.split()[1]}:" in makefile, command


def test_the_configuration_reference_is_what_the_schemas_and_comments_say() -> None:
    made = runpy.run_path(str(REPOSITORY / "scripts" / "make_reference.py"))
    assert (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8") == made["reference"](), (
        "run: python scripts/make_reference.py"
    )


def test_the_snippets_of_a_page_are_found_and_shortened() -> None:
    found = steps(REPOSITORY / "README.md", Path("x"))
    assert len(found) > 8
    assert quick("python -m tradingbot_exp.train  # why") == "python -m tradingbot_exp.train training.epochs=2"
    assert (
        quick("python -m tradingbot_exp.train training.epochs=9") == "python -m tradingbot_exp.train training.epochs=9"
    )
    assert commands("# a\npython -m x \\\n  y\n\nls\n") == ["python -m x    y", "ls"]
