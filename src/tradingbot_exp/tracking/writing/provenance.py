"""Where a run's code came from: commit, branch and uncommitted changes, with secrets left out."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.redaction import is_secret_file, redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    import git

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 256 * 1024
MAX_PATCH_BYTES = 2 * 1024**2
_GENERATED = ("outputs", "multirun", "mlruns", "mlartifacts", ".tradingbot")
_GENERATED_SUFFIXES = (".db", ".db.lock", ".db-journal", ".db-wal", ".db-shm", ".journal", ".journal.lock")


@dataclass(frozen=True)
class Provenance:
    """The state of a git work tree.

    Attributes
    ----------
    commit, branch : str or None
        None where there is none (no commit yet; a detached head).
    dirty : bool
        Whether tracked files are changed or untracked ones are there.
    patch : str
        What `git apply` needs to get from the commit to the work tree, untracked text files included.
    left_out : tuple of str
        Files of the work tree that the patch does not hold, each with the reason.
    remotes : dict of str to str
        URLs by name, credentials masked.
    root : str
        Path of the work tree.
    """

    commit: str | None
    branch: str | None
    dirty: bool
    patch: str = ""
    left_out: tuple[str, ...] = ()
    remotes: dict[str, str] = field(default_factory=dict)
    root: str = ""

    def tags(self) -> dict[str, str]:
        """Return the tags of a run: MLflow's own names for commit, branch and repository, and ``git.dirty``."""
        named = {
            "mlflow.source.git.commit": self.commit,
            "mlflow.source.git.branch": self.branch,
            "mlflow.source.git.repoURL": self.remotes.get("origin"),
            "git.dirty": "true" if self.dirty else "false",
        }
        return {name: value for name, value in named.items() if value}


def read_provenance(*places: Path) -> Provenance | None:
    """Describe the first of `places` that lies in a git work tree.

    Returns
    -------
    Provenance or None
        None, silently, where none of them does or git is not installed; None with a warning where git
        refuses to read the repository.
    """
    try:
        import git
    except ImportError:  # GitPython raises it when there is no git command
        return None
    for place in places:
        try:
            with git.Repo(place, search_parent_directories=True) as repository:
                if repository.working_tree_dir is not None:
                    return _describe(repository)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError):
            continue
        except git.GitCommandError as error:
            log.warning("git does not read the repository of %s, so no commit is recorded: %s", place, error.stderr)
            return None
    return None


def _describe(repository: git.Repo) -> Provenance:
    root = Path(str(repository.working_tree_dir))
    commit = repository.head.commit.hexsha if repository.head.is_valid() else None
    branch = None if repository.head.is_detached else repository.active_branch.name
    remotes = {remote.name: redact(next(iter(remote.urls), "")) for remote in repository.remotes}
    untracked, left_out = _worth_keeping(root, [name for name in repository.untracked_files if not _is_ours(name)])
    base = "HEAD" if commit else repository.git.hash_object("-t", "tree", "/dev/null")
    changed = _without_secrets(repository.git.diff("--name-only", "-z", base).split("\0"), left_out)
    patch = _diff(repository, root, base, [*changed, *untracked]) if changed or untracked else ""
    if len(patch) > MAX_PATCH_BYTES and untracked:
        left_out += [f"{name} (with it the patch is {len(patch)} bytes, over {MAX_PATCH_BYTES})" for name in untracked]
        patch = _diff(repository, root, base, changed) if changed else ""
    if len(patch) > MAX_PATCH_BYTES:
        left_out.append(f"the whole patch ({len(patch)} bytes, over {MAX_PATCH_BYTES})")
        patch = ""
    return Provenance(commit, branch, bool(patch or left_out), patch, tuple(left_out), remotes, str(root))


def _without_secrets(names: Sequence[str], left_out: list[str]) -> list[str]:
    kept = []
    for name in filter(None, names):
        if is_secret_file(name):
            left_out.append(f"{name} (its name says that it holds secrets)")
        else:
            kept.append(name)
    return kept


def _worth_keeping(root: Path, untracked: Sequence[str]) -> tuple[list[str], list[str]]:
    kept: list[str] = []
    left_out: list[str] = []
    for name in _without_secrets(untracked, left_out):
        try:
            reason = _unfit(root / name)
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            left_out.append(f"{name} ({reason})")
        else:
            kept.append(name)
    return kept, left_out


def _unfit(path: Path) -> str:
    """Say why a file is not taken into the patch; empty if it is."""
    if path.is_symlink() or not path.is_file():
        return "no regular file"
    if path.stat().st_size > MAX_FILE_BYTES:
        return f"{path.stat().st_size} bytes, over {MAX_FILE_BYTES}"
    return "no text" if b"\0" in path.read_bytes() else ""


def _is_ours(name: str) -> bool:
    """Tell what runs leave behind: it is no code, and would make every second run look changed."""
    return any(part in _GENERATED for part in name.split("/")[:-1]) or name.endswith(_GENERATED_SUFFIXES)


def _diff(repository: git.Repo, root: Path, base: str, names: Sequence[str]) -> str:
    """Diff the named files, untracked ones too, through a copy of the index: the user's own stays as it is."""
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "index"
        own = Path(repository.git_dir) / "index"
        if own.exists():
            shutil.copy2(own, index)
        listed = Path(scratch) / "names"
        listed.write_bytes(b"\0".join(name.encode("utf-8", "surrogateescape") for name in names))
        with repository.git.custom_environment(GIT_INDEX_FILE=str(index)):
            repository.git.add("--intent-to-add", f"--pathspec-from-file={listed}", "--pathspec-file-nul")
            diff = repository.git.diff(
                "--binary",
                "--no-color",
                "--no-ext-diff",
                base,
                "--",
                *(f":(top,literal){name}" for name in names),
                strip_newline_in_stdout=False,
            )
    return str(diff)
