"""Where a run's code came from: commit, branch and uncommitted changes, with secrets left out."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.redaction import holds_secret, is_secret_file, redact
from tradingbot_exp.runtime.text import one_line

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
        What `git apply` needs to get from the commit to the work tree, untracked Python modules included, without
        files that hold a secret.
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
        None, silently, where none of them does or git is not installed; None with a warning where the
        repository cannot be read.
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
        except Exception as error:  # a side matter, which ends no run
            why = str(getattr(error, "stderr", "") or error).strip() or type(error).__name__
            log.warning("git does not read the repository of %s, so no commit is recorded: %s", place, why)
            return None
    return None


def _describe(repository: git.Repo) -> Provenance:
    root = Path(str(repository.working_tree_dir))
    commit = repository.head.commit.hexsha if repository.head.is_valid() else None
    branch = None if repository.head.is_detached else repository.active_branch.name
    remotes = {remote.name: redact(next(iter(remote.urls), "")) for remote in repository.remotes}
    there = repository.git.ls_files("--others", "--exclude-standard", "-z").split("\0")
    untracked, left_out = _worth_keeping(root, [name for name in there if name and not _is_ours(name)])
    base = "HEAD" if commit else repository.git.hash_object("-t", "tree", "/dev/null")
    changed = _without_secrets(repository.git.diff("--name-only", "-z", base).split("\0"), left_out)
    files = _diffs(repository, base, changed, untracked)
    for name in [name for name, diff in files.items() if holds_secret(diff, source=name.endswith(".py"))]:
        left_out.append(f"{name} (it holds what looks like a password or a key)")
        del files[name]
    size = sum(map(len, files.values()))
    if size > MAX_PATCH_BYTES:
        for name in [name for name in untracked if files.pop(name, "")]:
            left_out.append(f"{name} (with it the patch is {size} bytes, over {MAX_PATCH_BYTES})")
        size = sum(map(len, files.values()))
    if size > MAX_PATCH_BYTES:
        left_out.append(f"the whole patch ({size} bytes, over {MAX_PATCH_BYTES})")
        files = {}
    patch = "".join(files.values())
    return Provenance(
        commit, branch, bool(patch or left_out), patch, tuple(map(one_line, left_out)), remotes, str(root)
    )


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
            reason = _unfit(root / name, name)
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            left_out.append(f"{name} ({reason})")
        else:
            kept.append(name)
    return kept, left_out


def _unfit(path: Path, name: str) -> str:
    """Say why an untracked file is not taken into the patch; empty if it is."""
    if path.is_symlink() or not path.is_file():
        return "no regular file"
    if not (name.isprintable() and path.suffix == ".py" and path.stem.isidentifier()):
        return "untracked, and no Python module: `git add` it to have it in the patch"
    if path.stat().st_size > MAX_FILE_BYTES:
        return f"{path.stat().st_size} bytes, over {MAX_FILE_BYTES}"
    return "no text" if b"\0" in path.read_bytes() else ""


def _is_ours(name: str) -> bool:
    """Tell what runs leave behind: it is no code, and would make every second run look changed."""
    return any(part in _GENERATED for part in name.split("/")[:-1]) or name.endswith(_GENERATED_SUFFIXES)


def _diffs(repository: git.Repo, base: str, changed: Sequence[str], untracked: Sequence[str]) -> dict[str, str]:
    """Diff the named files, untracked ones too, through a copy of the index: the user's own stays as it is.

    Returns
    -------
    dict of str to str
        The diff of each file that differs, by name.
    """
    names = [*changed, *untracked]
    if not names:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "index"
        own = Path(repository.git_dir) / "index"
        if own.exists():
            shutil.copy2(own, index)
        listed = Path(scratch) / "names"
        listed.write_bytes(b"\0".join(name.encode("utf-8", "surrogateescape") for name in untracked))
        with repository.git.custom_environment(GIT_INDEX_FILE=str(index)):
            if untracked:
                repository.git.add("--intent-to-add", f"--pathspec-from-file={listed}", "--pathspec-file-nul")
            chosen = (base, "--", *(f":(top,literal){name}" for name in names))
            # Whatever the user's settings say: what `git apply` reads.
            options = ["--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short"]
            options += ["--src-prefix=a/", "--dst-prefix=b/"]
            differing = repository.git.diff("--name-only", "-z", *options, *chosen).split("\0")
            diff = repository.git.diff("--binary", *options, *chosen, strip_newline_in_stdout=False)
    parts = [part for part in re.split(r"^(?=diff --git )", str(diff), flags=re.M) if part.startswith("diff --git ")]
    named = [name for name in dict.fromkeys(differing) if name]
    # In the middle of a merge, git lists more than it diffs.
    return dict(zip(named, parts, strict=True)) if len(named) == len(parts) else {"the changes": str(diff)}
