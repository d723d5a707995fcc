"""Every command and program that the documentation shows runs, page by page and in order."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from support import REPOSITORY, Finished, artifact_folder, clean_environment, in_ci, python

import tradingbot_exp
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
TUTORIAL, TRACKING = REPOSITORY / "docs" / "tutorial.md", REPOSITORY / "docs" / "tracking.md"
KINDS = ("bash", "python", "yaml", "text")
# Pages whose commands are run in the folder of the example package.
IN_EXAMPLE = "extending"
RUN_ID = re.compile(r"\((?:id|run) ([0-9a-f]{32})\)")
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


@dataclass
class Step:
    """What is run, and the run IDs in the output that the page shows of it: where a later step of the page names one
    of them, or its beginning, the ID that the step gave here takes its place."""

    kind: str
    text: str
    shown: list[str] = field(default_factory=list)


def steps(page: Path) -> list[Step]:
    """Give what is run of a page; the IDs in the output that follows a block are its last command's."""
    found: list[Step] = []
    for block in blocks(page):
        if block.kind == "text" and found:
            found[-1].shown = RUN_ID.findall(block.text)
        if block.reason is not None or block.kind not in ("bash", "python"):
            continue
        texts = [block.text] if block.kind == "python" else [quick(each) for each in commands(block.text)]
        found += [Step(block.kind, text) for text in texts if not text.startswith("make ")]
    return found


def run_step(folder: Path, kind: str, text: str) -> Finished:
    """Run one step in `folder`."""
    words = ["python", "-c", text] if kind == "python" else shlex.split(text, comments=True)
    if words[0] == "python" and "|" not in words:
        return python(folder, *words[1:], timeout=900)
    env = clean_environment()
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run(["bash", "-ec", text], cwd=folder, env=env, capture_output=True, text=True, check=False)
    return Finished(folder, done.stdout, done.stderr, done.returncode)


def with_ids(text: str, ids: Mapping[str, str]) -> str:
    """Put the IDs of this store in the place of those that the page shows, or of their beginnings."""

    def replaced(found: re.Match[str]) -> str:
        return next((own[: len(found[0])] for shown, own in ids.items() if shown.startswith(found[0])), found[0])

    return re.sub(r"\b[0-9a-f]{8,32}\b", replaced, text)


def prepare(folder: Path, page: Path, store: Path) -> None:
    """Make the directory that a page's commands are run in: a store, and files of the names that pages use."""
    if IN_EXAMPLE in page.parts:
        shutil.copytree(REPOSITORY / "examples" / "extending", folder)
    else:
        shutil.copytree(REPOSITORY / "examples", folder / "examples")
    shutil.copy(store, folder / "mlflow.db")
    (folder / "bars").mkdir()
    for symbol in ("ibm", "msft"):
        load_bars(DataConfig(name=symbol)).frame.to_csv(folder / "bars" / f"{symbol.upper()}.csv")
    shutil.copy(folder / "bars" / "IBM.csv", folder / "bars.csv")
    values = np.random.default_rng(0).normal(size=(400, 4))
    table = pd.DataFrame(values, columns=["a", "b", "y", "r"], index=pd.date_range("2020-01-01", periods=400))
    table.rename_axis("date").assign(r=0.01 * values[:, 3]).to_parquet(folder / "table.parquet")


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


# One test, as the pages take minutes to run and tests of one module are spread over the workers.
@in_ci
def test_every_step_of_every_page_runs_and_the_page_on_tracking_names_what_the_tutorial_records(
    tmp_path: Path, store_template: Path
) -> None:
    planned: list[tuple[Path, Step]] = []
    folders = {page: tmp_path / f"{number}-{page.stem}" for number, page in enumerate(PAGES)}
    for page, folder in folders.items():
        prepare(folder, page, store_template)
        planned += [(page, step) for step in steps(page)]
    known: dict[Path, dict[str, str]] = {page: {} for page in PAGES}
    for page, step in planned:
        done = run_step(folders[page], step.kind, with_ids(step.text, known[page]))
        assert done.status == 0, f"{name(page)}: {step.text}\n{done.out}{done.err}"
        # A page shows the first of them.
        known[page].update(zip(step.shown, RUN_ID.findall(done.out + done.err), strict=False))
    assert unnamed_on_the_page_on_tracking(folders[TUTORIAL] / "mlflow.db") == []


def unnamed_on_the_page_on_tracking(store: Path) -> list[str]:
    """Give the tags, metrics and files of the runs in a store that the page on tracking does not name."""
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert {run.data.tags["run.kind"] for run in runs} == {
        "training",
        "study",
        "trial",
        "null_study",
        "test_evaluation",
    }
    found: set[str] = set()
    for run in runs:
        own = set(run.data.tags) - {"project", "task", "tradingbot.local_id"}  # a user's, and how creation is repeated
        found |= {tag for tag in own if not tag.startswith("mlflow.")} | set(run.data.metrics)
        folder = artifact_folder(run)
        files = (str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        found |= {file for file in files if not file.startswith("model/")}
    named = names_on(TRACKING)
    return sorted(each for each in found if not any(pattern.fullmatch(each) for pattern in named))


def names_on(page: Path) -> list[re.Pattern[str]]:
    """Give what a page sets as code, outside of blocks; an ellipsis in it stands for anything but a slash."""
    prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [re.compile(re.escape(each).replace("…", "[^/]+")) for each in re.findall(r"`([^`\n]+)`", prose)]


def test_the_figure_of_the_verdict_is_drawn_from_the_tables_of_its_page(tmp_path: Path) -> None:
    drawn = tmp_path / "figure.svg"
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "verdict_figure.py"), "-o", str(drawn)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert drawn.read_bytes() == (REPOSITORY / "docs" / "who_is_fooled.svg").read_bytes()


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
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        there = page.parent / target if target else page
        assert "://" in target or there.exists(), target
        assert not anchor or "://" in target or anchor in anchors(there), f"{target}#{anchor}"
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


def test_the_page_on_python_says_what_each_public_name_takes_and_gives() -> None:
    rows = re.findall(r"^\| \[?`(\w+)`", (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(rows) & set(tradingbot_exp.__all__)) == sorted(tradingbot_exp.__all__)
    methods = {method for method in vars(tradingbot_exp.EnhancedMLflowLogger) if method.startswith("log_")}
    assert methods <= set(rows)


def test_the_snippets_of_a_page_are_found_and_shortened() -> None:
    found = steps(REPOSITORY / "README.md")
    assert len(found) > 8
    assert quick("python -m tradingbot_exp.train  # why") == "python -m tradingbot_exp.train training.epochs=2"
    assert (
        quick("python -m tradingbot_exp.train training.epochs=9") == "python -m tradingbot_exp.train training.epochs=9"
    )
    assert commands("# a\npython -m x \\\n  y\n\nls\n") == ["python -m x    y", "ls"]


def test_a_run_that_a_page_names_by_the_id_it_shows_is_the_one_of_this_store() -> None:
    shown, own = "b4a8322a985f4b7d82fdf064a7eca741", "0123456789abcdef0123456789abcdef"
    assert RUN_ID.findall(f"Run mlp-ibm-1  (id {shown})\nStudy x  (run {own})") == [shown, own]
    assert with_ids("diff b4a8322a latest", {shown: own}) == "diff 01234567 latest"
    assert with_ids("diff c4a8322a deadbeef", {shown: own}) == "diff c4a8322a deadbeef"
