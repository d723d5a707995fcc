"""The recorded patch turns the commit into the work tree, holds no secrets, and touches nothing."""

from __future__ import annotations

import os
import subprocess
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
    for name in ("old name.py", "removed.py"):
        (folder / name).write_text("y = 1\n")
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
    git(repository, "rm", "-q", "removed.py")
    (repository / "staged.py").write_text("z = 1\n")
    git(repository, "add", "staged.py")
    (repository / "sub").mkdir()
    (repository / "sub" / "new_file.py").write_text("# no newline at the end")
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
    for name in ("code.py", "staged.py", "sub/new_file.py"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes()
    assert not (clone / "old name.py").exists() and not (clone / "removed.py").exists()
    assert "ignored" not in found.patch


def test_secrets_binaries_and_large_files_are_left_out_and_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "MAX_FILE_BYTES", 100)
    (repository / ".env").write_text("PASSWORD=hunter2\n")
    (repository / "model.py").write_bytes(b"\0\1")
    (repository / "large.py").write_text("x" * 101)
    (repository / "kept.py").write_text("kept\n")
    found = read_provenance(repository)
    assert found is not None and found.dirty
    assert "hunter2" not in found.patch and "kept" in found.patch
    assert sorted(reason.split(" ")[0] for reason in found.left_out) == [".env", "large.py", "model.py"]


@pytest.mark.parametrize("name", [".my.cnf", ".databrickscfg", "notes.txt", "settings.yaml", "two words.py", "a-b.py"])
def test_untracked_files_that_are_no_modules_are_left_out_and_named(repository: Path, name: str) -> None:
    (repository / name).write_text("a = 1\n")
    found = read_provenance(repository)
    assert found is not None and found.dirty and found.patch == ""
    assert [each.partition(" (")[0] for each in found.left_out] == [name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("credentials.py", 'API_KEY="S4"\n'),
        ("mine.py", "def connect():\n    return open_db('postgresql://me:S4@host/db')\n"),
        ("code.py", "x = 2\npassword: str = 'S4'\n"),  # tracked, and changed
        (".gitignore", "ignored/\ntoken=S4\n"),
    ],
)
def test_files_with_a_secret_in_them_are_left_out_and_named(repository: Path, name: str, text: str) -> None:
    (repository / name).write_text(text)
    (repository / "old name.py").write_text("y = 2\n")
    found = read_provenance(repository)
    assert found is not None and "S4" not in found.patch and "+y = 2" in found.patch
    assert [each.partition(" (")[0] for each in found.left_out] == [name]


@pytest.mark.parametrize("name", [b"bad\xff.txt", b"bad\xff.py", b"new\nline.py", b"\x1b[2J.py"])
def test_a_name_of_any_bytes_is_left_out_and_named_in_letters(repository: Path, name: bytes) -> None:
    (repository / os.fsdecode(name)).write_text("a = 1\n")
    (repository / "code.py").write_text("x = 2\n")
    found = read_provenance(repository)
    assert found is not None and "+x = 2" in found.patch
    (left,) = found.left_out
    left.encode()
    assert left.isprintable()


def test_the_users_settings_of_git_change_nothing_of_the_patch(repository: Path) -> None:
    for setting in ("diff.noprefix", "diff.mnemonicPrefix"):
        git(repository, "config", setting, "true")
    git(repository, "config", "diff.submodule", "log")
    (repository / "code.py").write_text("x = 2\n")
    found = read_provenance(repository)
    assert found is not None and found.patch.startswith("diff --git a/code.py b/code.py\n")


def test_the_middle_of_a_merge_is_described(repository: Path) -> None:
    git(repository, "checkout", "-qb", "other")
    (repository / "code.py").write_text("x = 2\n")
    git(repository, "commit", "-qam", "second")
    git(repository, "checkout", "-q", "trunk")
    (repository / "code.py").write_text("x = 3\n")
    git(repository, "commit", "-qam", "third")
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "merge", "-q", "other")
    found = read_provenance(repository)
    assert found is not None and found.commit is not None and "<<<<<<<" in found.patch


def test_a_repository_that_cannot_be_read_is_told_and_ends_nothing(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repository / ".git" / "index").write_bytes(b"nothing")
    assert read_provenance(repository) is None
    assert str(repository) in caplog.text


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
    (fresh / "a.py").write_text("a\n")
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
