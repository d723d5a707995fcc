"""A run's code is checked out beside the user's tree, which stays as it is, and the checkout goes whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import git

from tradingbot_exp.errors import RunError
from tradingbot_exp.recorded.reproduction.worktree import checkout, find_repository
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
    (folder / "new file.txt").write_text("new\n")
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
        for name in ("code.py", "staged.py", "new file.txt"):
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
        find_repository("d" * 40, [repository, tmp_path / "nowhere"])
    with pytest.raises(RunError, match="No git repository is here"):
        find_repository("d" * 40, [tmp_path])


def test_the_commit_is_found_in_whichever_place_has_it_also_where_git_is_steered(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    commit = git(repository, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert find_repository(commit, [other, repository]) == repository
