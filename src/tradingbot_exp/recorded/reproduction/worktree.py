"""A clean checkout of a run's code in a temporary git worktree: the user's tree, index and branches stay untouched."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tradingbot_exp.errors import RunError
from tradingbot_exp.runtime.interrupt import signals_held

_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


def find_repository(commit: str, places: Sequence[Path]) -> Path:
    """Return the first git work tree, of those that `places` lie in, that has the commit.

    Raises
    ------
    RunError
        None has it, or git is not installed.
    """
    roots: dict[Path, None] = {}
    refused = ""
    for place in places:
        if place.is_dir():
            found = _git(place, "rev-parse", "--show-toplevel")
            if found.returncode == 0:
                roots[Path(os.fsdecode(found.stdout).rstrip("\n"))] = None
            elif b"dubious ownership" in found.stderr:
                refused = f" Git does not read {place}, which belongs to another user (see safe.directory)."
    for root in roots:
        if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            return root
    where = f"It is not in {', '.join(map(str, roots))}." if roots else "No git repository is here."
    raise RunError(
        f"code: the commit {commit} of the run is gone. {where}{refused} Fetch it (`git fetch origin "
        f"{commit}`), or give the command in a clone that has it."
    )


@contextmanager
def checkout(repository: Path, commit: str, patch: bytes | None) -> Iterator[Path]:
    """Check a commit out into a temporary worktree, with a patch applied; it is removed whatever happens.

    Raises
    ------
    RunError
        Git cannot check the commit out, or the patch does not fit it.
    """
    scratch = Path(tempfile.mkdtemp(prefix="tradingbot-worktree-")).resolve()
    tree = scratch / commit[:12]
    try:
        added = _git(repository, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        if added.returncode != 0:
            raise RunError(f"code: git cannot check out the commit {commit} of {repository}: {_said(added)}")
        if patch:
            applied = _git(tree, "apply", "--whitespace=nowarn", "-", stdin=patch)
            if applied.returncode != 0:
                raise RunError(f"code: the run's patch does not fit the commit {commit}: {_said(applied)}")
        yield tree
    finally:
        with signals_held():
            _git(repository, "worktree", "remove", "--force", "--force", str(tree))
            shutil.rmtree(scratch, ignore_errors=True)
            if str(tree) in os.fsdecode(_git(repository, "worktree", "list", "--porcelain").stdout):
                _git(repository, "worktree", "prune")


def _git(place: Path, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run git, without what would send it to another repository or index."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            [*_GIT, *arguments], cwd=place, env=environment, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise RunError("code: git is not installed, and the run was made from a git commit.") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it did not say why"
