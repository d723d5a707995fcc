"""A clean checkout of a run's code in a temporary git worktree: the user's tree, index and branches stay untouched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tradingbot_exp.errors import TRUST, RunError
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.runtime.process import identity, is_alive

_PREFIX, _OWNER = "tradingbot-worktree-", "owner.json"
_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


def find_repository(commit: str, places: Sequence[Path], trust: bool) -> Path:
    """Return the first git work tree, of those that `places` lie in, that has the commit.

    Raises
    ------
    RunError
        None has it, or git is not installed; or it is on no branch and tag there, and the run is not trusted: somebody
        else's, which was fetched to be looked at, is among the objects too.
    """
    roots, refused = _work_trees(places)
    for root in roots:
        if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            if trust or _is_own(root, commit):
                return root
            refused += f" {root} has it, but on no branch and tag of its own: it may be somebody else's. {TRUST}"
    where = f"It is not in {', '.join(map(str, roots))}." if roots else "No git repository is here."
    raise RunError(
        f"code: the commit {commit} of the run is gone. {where}{refused} Fetch it (`git fetch origin "
        f"{commit}`), or give the command in a clone that has it."
    )


def _is_own(root: Path, commit: str) -> bool:
    """Tell whether a commit is on a branch or tag of a work tree, or before what is checked out."""
    if _git(root, "merge-base", "--is-ancestor", commit, "HEAD").returncode == 0:
        return True
    return bool(_git(root, "for-each-ref", "--count=1", "--contains", commit, "refs/heads", "refs/tags").stdout)


def _work_trees(places: Sequence[Path]) -> tuple[list[Path], str]:
    """Return the git work trees that places lie in, and why git does not read one that it refuses."""
    roots: dict[Path, None] = {}
    refused = ""
    for place in places:
        if place.is_dir():
            found = _git(place, "rev-parse", "--show-toplevel")
            if found.returncode == 0:
                roots[Path(os.fsdecode(found.stdout).rstrip("\n"))] = None
            elif b"dubious ownership" in found.stderr:
                refused = f" Git does not read {place}, which belongs to another user (see safe.directory)."
    return list(roots), refused


def left_behind(places: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return the worktrees that killed processes left registered, each with its repository, of those of `places`.

    Raises
    ------
    RunError
        Git is not installed.
    """
    found: dict[Path, Path] = {}  # several work trees of one repository name the same
    for root in _work_trees(places)[0]:
        listed = os.fsdecode(_git(root, "worktree", "list", "--porcelain", "-z").stdout).split("\0")
        trees = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
        left = (tree for tree in trees if tree.parent.name.startswith(_PREFIX) and not _is_in_use(tree))
        found = dict.fromkeys(left, root) | found
    return [(root, tree) for tree, root in found.items()]


def _is_in_use(tree: Path) -> bool:
    """Tell whether the process that made a worktree lives; where it is unknown, whether the worktree is there."""
    try:
        owner = json.loads((tree.parent / _OWNER).read_text(encoding="utf-8"))
        return is_alive({name: str(text) for name, text in owner.items()})
    except (OSError, ValueError, AttributeError):
        return tree.exists()


def remove(repository: Path, tree: Path) -> None:
    """Remove a worktree that `checkout` made, its folder and what the repository knows of it."""
    _git(repository, "worktree", "remove", "--force", "--force", str(tree))
    shutil.rmtree(tree.parent, ignore_errors=True)
    if str(tree) in os.fsdecode(_git(repository, "worktree", "list", "--porcelain").stdout):
        _git(repository, "worktree", "prune")


@contextmanager
def checkout(repository: Path, commit: str, patch: bytes | None) -> Iterator[Path]:
    """Check a commit out into a temporary worktree, with a patch applied; it is removed whatever happens.

    Raises
    ------
    RunError
        Git cannot check the commit out, or the patch does not fit it.
    """
    scratch = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    tree = scratch / commit[:12]
    try:
        (scratch / _OWNER).write_text(json.dumps(identity()), encoding="utf-8")
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
            remove(repository, tree)


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
