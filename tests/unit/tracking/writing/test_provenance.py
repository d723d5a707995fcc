"""The recorded patch turns the commit into the work tree, holds no secrets, and touches nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import git

from tradingbot_exp.tracking.writing import provenance
from tradingbot_exp.tracking.writing.provenance import read_provenance


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "code.py").write_text("x = 1\n")
    (folder / "old name.py").write_text("y = 1\n")
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_tree_has_commit_and_branch_and_no_patch(repository: Path) -> None:
    found = read_provenance(repository)
    assert found is not None
    assert found.commit == git(repository, "rev-parse", "HEAD").strip()
    assert (found.branch, found.dirty, found.patch) == ("trunk", False, "")
    assert found.tags()["git.dirty"] == "false"


def test_the_patch_makes_the_work_tree_out_of_the_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "code.py").write_text("x = 2  # ümlaut\n")
    (repository / "old name.py").unlink()
    (repository / "staged.py").write_text("z = 1\n")
    git(repository, "add", "staged.py")
    (repository / "sub").mkdir()
    (repository / "sub" / "new file.txt").write_text("no newline at the end")
    (repository / "ignored").mkdir()
    (repository / "ignored" / "big.bin").write_text("x")
    before = git(repository, "status", "--porcelain")
    found = read_provenance(repository / "sub")
    assert found is not None and found.dirty
    assert git(repository, "status", "--porcelain") == before
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    (tmp_path / "p.patch").write_bytes(found.patch.encode())
    git(clone, "apply", str(tmp_path / "p.patch"))
    for name in ("code.py", "staged.py", "sub/new file.txt"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes()
    assert not (clone / "old name.py").exists()
    assert "ignored" not in found.patch


def test_secrets_binaries_and_large_files_are_left_out_and_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "MAX_FILE_BYTES", 100)
    (repository / ".env").write_text("PASSWORD=hunter2\n")
    (repository / "model.bin").write_bytes(b"\0\1")
    (repository / "large.txt").write_text("x" * 101)
    (repository / "kept.txt").write_text("kept\n")
    found = read_provenance(repository)
    assert found is not None and found.dirty
    assert "hunter2" not in found.patch and "kept" in found.patch
    assert sorted(reason.split(" ")[0] for reason in found.left_out) == [".env", "large.txt", "model.bin"]


def test_a_patch_over_the_limit_is_named_instead_of_kept(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "MAX_PATCH_BYTES", 50)
    (repository / "code.py").write_text("x = 3\n" * 50)
    (repository / "new.py").write_text("x = 3\n")
    found = read_provenance(repository)
    assert found is not None and found.dirty and found.patch == ""
    assert found.left_out[0].startswith("new.py (with it the patch is")
    assert found.left_out[1].startswith("the whole patch")


def test_what_runs_leave_behind_is_no_change_of_the_code(repository: Path) -> None:
    for name in ("outputs/x/.hydra/config.yaml", "multirun/m.yaml", "mlruns/1/a.txt", ".tradingbot/unsent/r.json"):
        (repository / name).parent.mkdir(parents=True)
        (repository / name).write_text("x")
    for name in ("mlflow.db", ".mlflow.db.lock", "optuna.journal"):
        (repository / name).write_text("x")
    found = read_provenance(repository)
    assert found is not None
    assert (found.dirty, found.patch, found.left_out) == (False, "", ())


def test_credentials_of_a_remote_are_masked(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://me:hunter2@example.org/a.git")
    found = read_provenance(repository)
    assert found is not None
    assert found.tags()["mlflow.source.git.repoURL"] == "https://***@example.org/a.git"


def test_a_repository_without_a_commit_and_a_detached_head_are_described(repository: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q", "-b", "trunk")
    (fresh / "a.txt").write_text("a\n")
    found = read_provenance(fresh)
    assert found is not None
    assert (found.commit, found.branch, found.dirty) == (None, "trunk", True)
    assert "+a" in found.patch
    git(repository, "checkout", "-q", "--detach")
    detached = read_provenance(repository)
    assert detached is not None and detached.branch is None and detached.commit is not None


def test_outside_git_there_is_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_provenance(tmp_path) is None
    assert caplog.text == ""
