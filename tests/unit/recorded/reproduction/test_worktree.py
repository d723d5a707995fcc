"""A run's code is checked out beside the user's tree, which stays as it is, and the checkout goes whatever happens."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import git

from tradingbot_exp.cli.main import run as command
from tradingbot_exp.errors import RunError
from tradingbot_exp.recorded.reproduction.worktree import checkout, find_repository, left_behind
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.writing.provenance import read_provenance


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a stash, a staged change, a changed file, a new one, and a hook that leaves a trace."""
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "code.py").write_text("x = 0\n")
    git(folder, "stash", "-q")
    (folder / "code.py").write_text("x = 2\n")
    (folder / "staged.py").write_text("y = 1\n")
    git(folder, "add", "staged.py")
    (folder / "new_file.py").write_text("new\n")
    hook = folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hooked'\n")
    hook.chmod(0o755)
    return folder


def state(folder: Path) -> tuple[object, ...]:
    listed = [git(folder, *words) for words in (["branch", "-a"], ["stash", "list"], ["worktree", "list"])]
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    head = (folder / ".git" / "HEAD").read_text()
    return (*listed, files, (folder / ".git" / "index").read_bytes(), head, git(folder, "reflog"))


def test_commit_and_patch_are_there_and_nothing_of_the_users_is_changed(repository: Path, tmp_path: Path) -> None:
    found = read_provenance(repository)
    assert found is not None and found.commit is not None and found.root == str(repository)
    before = state(repository)
    with checkout(repository, found.commit, found.patch.encode()) as tree:
        for name in ("code.py", "staged.py", "new_file.py"):
            assert (tree / name).read_bytes() == (repository / name).read_bytes()
        assert git(tree, "rev-parse", "HEAD").strip() == found.commit
        assert not tree.is_relative_to(repository)
    assert state(repository) == before and not tree.parent.exists()
    assert not (tmp_path / "hooked").exists() and not (repository / ".git" / "worktrees").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_checkout_goes_when_the_work_in_it_is_interrupted(repository: Path, error: type[BaseException]) -> None:
    commit, before = git(repository, "rev-parse", "HEAD").strip(), state(repository)
    trees: list[Path] = []

    def work() -> None:
        with checkout(repository, commit, None) as tree:
            trees.append(tree)
            (tree / "left.txt").write_text("x")
            raise error

    with pytest.raises(error):
        work()
    assert state(repository) == before and not trees[0].parent.exists()


def test_a_patch_that_does_not_fit_is_said_so_and_leaves_nothing(repository: Path) -> None:
    commit, before = git(repository, "rev-parse", "HEAD").strip(), state(repository)
    patch = b"diff --git a/code.py b/code.py\n--- a/code.py\n+++ b/code.py\n@@ -1 +1 @@\n-z = 9\n+z = 8\n"
    with pytest.raises(RunError, match="the run's patch does not fit the commit"), checkout(repository, commit, patch):
        pass
    assert state(repository) == before


def test_a_commit_that_is_gone_is_named_with_what_to_do(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"the commit {'d' * 40} of the run is gone. It is not in .*mine. Fetch it"):
        find_repository("d" * 40, [repository, tmp_path / "nowhere"], trust=True)
    with pytest.raises(RunError, match="No git repository is here"):
        find_repository("d" * 40, [tmp_path], trust=True)


def test_the_commit_is_found_in_whichever_place_has_it_also_where_git_is_steered(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    commit = git(repository, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert find_repository(commit, [other, repository], trust=False) == repository


def test_a_commit_that_was_only_fetched_wants_trust(repository: Path, tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    git(tmp_path, "clone", "-q", str(repository), str(fork))
    (fork / "sitecustomize.py").write_text("1")
    git(fork, "add", ".")
    git(fork, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "theirs")
    git(repository, "fetch", "-q", str(fork), "HEAD")
    commit = git(fork, "rev-parse", "HEAD").strip()
    with pytest.raises(RunError, match=r"on no branch and tag of its own.*--trust"):
        find_repository(commit, [repository], trust=False)
    assert find_repository(commit, [repository], trust=True) == repository
    git(repository, "branch", "looked-at", commit)
    assert find_repository(commit, [repository], trust=False) == repository


@pytest.mark.parametrize("loses", ["nothing", "its folder", "its worktree"])
def test_what_a_killed_process_left_registered_is_found_and_pruned_by_doctor(
    repository: Path, loses: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    before, commit = state(repository), git(repository, "rev-parse", "HEAD").strip()
    code = (
        "import os, sys; from pathlib import Path; from tradingbot_exp.recorded.reproduction.worktree import checkout\n"
        f"with checkout(Path({str(repository)!r}), {commit!r}, None) as tree: print(tree, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    tree = Path(killed.stdout.strip())
    if loses != "nothing":
        shutil.rmtree(tree.parent if loses == "its folder" else tree)
    with checkout(repository, commit, None) as living:
        for words, status in ((["doctor", "--json"], 1), (["doctor", "--json", "--fix"], 0)):
            assert command(words) == status
            told = json.loads(capsys.readouterr().out)
            ours = [each for each in told["found"] if str(repository) in each["what"]]
            assert [each["kind"] for each in ours] == ["left_worktree"] * status
            assert all(str(tree) in each["what"] and each["mendable"] for each in ours)
        assert (living / "code.py").is_file()
    assert state(repository) == before and not tree.parent.exists()


def test_a_worktree_of_nobody_knows_whom_is_left_alone_while_it_is_there(repository: Path) -> None:
    with checkout(repository, git(repository, "rev-parse", "HEAD").strip(), None) as tree:
        (tree.parent / "owner.json").write_text(json.dumps({**identity(), "process.pid": "999999999"}))
        assert left_behind([repository, repository / ".git" / ".."]) == [(repository, tree)]
        for text in ("", "[]", "{"):
            (tree.parent / "owner.json").write_text(text)
            assert left_behind([repository]) == []
