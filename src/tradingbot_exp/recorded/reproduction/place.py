"""Where a run is made again: a checkout of its code, or the installed code, and the environment that it had."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.paths import is_address
from tradingbot_exp.data.folder import is_same_content, is_there
from tradingbot_exp.errors import TRUST, RunError
from tradingbot_exp.recorded.reproduction.worktree import checkout, find_repository
from tradingbot_exp.runtime.package import FOLDER, VERSION
from tradingbot_exp.runtime.text import at_most
from tradingbot_exp.tracking.reading.differences import touched
from tradingbot_exp.tracking.store.places import inside
from tradingbot_exp.tracking.writing.environment import VARIABLES

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.recipe import Recipe

# What would steer the program elsewhere.
_STEERING = ("GIT_", "MLFLOW_", "HYDRA_", "TRADINGBOT_")
# What a store may set of the variables that it keeps, and to what: others of their families load libraries.
_SETTABLE = frozenset(
    [
        *("CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
        *("OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_SCHEDULE"),
        *("OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "MKL_CBWR", "MKL_DYNAMIC", "MKL_NUM_THREADS"),
        *("MKL_ENABLE_INSTRUCTIONS", "MKL_THREADING_LAYER", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS"),
        *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "PYTHONHASHSEED"),
        *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCH_CUDNN_V8_API_DISABLED"),
    ]
)
_PLAIN_VALUE = re.compile(r"[\w.,:;+>\[\] -]{0,200}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Place:
    """Where the run is made again.

    Attributes
    ----------
    cwd : Path
        The directory to start in.
    root : Path
        The checkout, or a scratch folder.
    path : tuple of Path
        What is put before the import path.
    words : str
    """

    cwd: Path
    root: Path
    path: tuple[Path, ...]
    words: str


@contextmanager
def prepared_place(recipe: Recipe, scratch: Path, *, trust: bool = False) -> Iterator[Place]:
    """Check the run's code out; of a run made outside git, take the installed code if it is of the same version.

    Parameters
    ----------
    recipe : Recipe
    scratch : Path
        A folder for what has no place in the checkout.
    trust : bool
        Whether to apply the run's patch, and to import and check out from the folders that it names.

    Raises
    ------
    RunError
        The commit is gone, its patch does not fit or is not trusted, or the installed version is another.
    """
    made, launch = recipe.made, recipe.launch_dir
    work = scratch / "work"
    work.mkdir()
    own = tuple(path for path in (launch,) if trust and path is not None and path.is_dir())
    _require_trusted(recipe, trust)
    if made.commit is None:
        then, now = _recorded_version(recipe), VERSION
        if then != now:
            raise RunError(
                f"code: the run {made.run.run_id} was made outside git, with tradingbot_exp {then or 'unknown'}, and "
                f"{now} is installed. Install that version, and give the command again."
            )
        yield Place(work, work, own, f"with the installed tradingbot_exp {now}, as the run was made outside git")
        return
    package, root = FOLDER, recipe.root
    named = [Path(each) for each in (root, launch) if trust and each]
    repository = find_repository(made.commit, [Path.cwd(), *named, package], trust)
    with checkout(repository, made.commit, made.patch) as tree:
        is_inside = launch is not None and root is not None and launch.is_relative_to(root)
        cwd = inside(tree, str(launch.relative_to(root))) if is_inside and launch and root else work
        cwd.mkdir(parents=True, exist_ok=True)
        ours = [folder for folder in (tree / "src", tree) if (folder / "tradingbot_exp" / "__init__.py").is_file()]
        changes = " and its uncommitted changes" if made.patch else ""
        words = f"at commit {made.commit[:12]}{changes}, in a temporary worktree"
        if not ours:
            words += ", with the installed tradingbot_exp"
        yield Place(cwd, tree, (*ours[:1], cwd, *(() if is_inside else own)), words)


def _require_trusted(recipe: Recipe, trust: bool) -> None:
    """Refuse a commit that is none, and of a run that is not trusted the code that it brings with it."""
    made = recipe.made
    named = f"the run {made.run.run_id} ({made.run.name})"
    if made.commit is not None and not _COMMIT.fullmatch(made.commit):
        raise RunError(f"code: {made.commit!r} is not a commit: {named} should name one by 40 hexadecimal digits.")
    if trust:
        return
    if made.patch:
        files = at_most(list(touched(made.patch.decode("utf-8", "replace"))), 5) or "no file"
        raise RunError(
            f"code: {named} was made with uncommitted changes, which the store keeps ({files}). They are code that "
            f"would be run: `reproduce {made.run.run_id[:12]}` says how to read them. {TRUST}"
        )
    plugins = (recipe.tree or {}).get("plugins")
    if plugins:
        raise RunError(f"code: {named} was made with plugins, which would be imported: {plugins}. {TRUST}")


def _recorded_version(recipe: Recipe) -> str | None:
    found = recipe.made.recorded("code", "version") or recipe.made.requirements.get("tradingbot_exp")
    return None if found is None else str(found)


def environment_of(recipe: Recipe, place: Place) -> dict[str, str]:
    """Return the environment of the process: as it was, where the run says so, and nothing that steers the command."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_STEERING)}
    recorded = recipe.made.recorded("variables")
    if isinstance(recorded, Mapping):
        others = {name: text for name, text in kept.items() if name.startswith(VARIABLES)}
        # What is as it was here is the user's own, whatever it sets.
        kept = {name: text for name, text in kept.items() if name not in others or recorded.get(name) == text}
        told = {str(name): str(text) for name, text in recorded.items() if name in _SETTABLE}
        kept |= {name: text for name, text in told.items() if _PLAIN_VALUE.fullmatch(text)}
    # A relative entry starts from where this process is.
    before = [str(Path(entry).absolute()) for entry in kept.get("PYTHONPATH", "").split(os.pathsep) if entry]
    path = [*map(str, place.path), *before]
    return kept | {"PYTHONPATH": os.pathsep.join(path), "MLFLOW_ALLOW_FILE_STORE": "true"}


def data_file(recipe: Recipe, given: str | None, place: Place) -> tuple[Path | None, str]:
    """Find the run's data file; one that is in the run's commit is taken from there, as the run saw it.

    Parameters
    ----------
    recipe : Recipe
    given : str or None
        Where the file is now.
    place : Place

    Returns
    -------
    file : Path or None
        None for data that come with the package.
    note : str
        That the file in the launch directory has changed or gone since; empty if it has not.

    Raises
    ------
    RunError
        It is nowhere.
    """
    path, launch = recipe.data_path, recipe.launch_dir
    if given is not None:
        tried = [Path(given).expanduser().absolute()]
    elif path is None or is_address(path):
        return None, ""
    else:
        kept, own = place.cwd / path, None if launch is None else launch / path
        if is_there(kept) and kept.resolve().is_relative_to(place.root):
            if own is None or (is_there(own) and is_same_content(own, kept)):
                return kept, ""
            what = "has changed since" if is_there(own) else "is not there any more"
            why = "the run's own was taken, from its commit and its uncommitted changes"
            return kept, f"data: the file {own} {what}; {why}"
        tried = list(dict.fromkeys([*([own] if own is not None else []), Path.cwd() / path]))
    for each in tried:
        if is_there(each):
            return each, ""
    raise RunError(
        f"data: the file {given or path} of the run {recipe.made.run.run_id} is not there any more (looked for: "
        f"{' or '.join(map(str, tried))}). If it was moved, say where it is with --data FILE; its content has to be "
        f"the same, fingerprint {recipe.made.fingerprint}."
    )
