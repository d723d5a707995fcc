"""What a run ran on and with: machine, Python, packages, code and git state, as plain records."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import mask_secrets, read_environment
from tradingbot_exp.runtime.package import FOLDER, VERSION, code_sha256
from tradingbot_exp.tracking.writing.provenance import read_provenance

log = logging.getLogger(__name__)
# Environment variables that change numbers or speed; others stay private.
VARIABLES = ("CUDA_", "CUBLAS_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "PYTORCH_", "PYTHONHASHSEED")


def packages() -> dict[str, str]:
    """Return the version of every installed distribution, sorted by name."""
    found = _described("the packages", lambda: {item.name: item.version for item in metadata.distributions()})
    return dict(sorted(((name, found[name]) for name in found if name), key=lambda pair: pair[0].lower()))


def requirements() -> str:
    """Return the installed distributions as a requirements file."""
    return "".join(f"{name}=={version}\n" for name, version in packages().items())


def parse_requirements(text: str) -> dict[str, str]:
    """Read pinned versions, by package; what is not pinned is left out."""
    lines = (line.partition("#")[0].strip().partition("==") for line in text.splitlines())
    return {name.strip(): version.strip() for name, sign, version in lines if sign}


def environment() -> dict[str, Any]:
    """Describe machine, operating system, Python, hardware and relevant environment variables."""
    variables = {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}
    return {
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
        },
        "host": platform.node(),
        "command": " ".join(mask_secrets(sys.argv)),
        # Word by word, for whoever wants to give the command again, and from where.
        "arguments": mask_secrets(sys.argv)[1:],
        "launch_dir": str(launch_dir()),
        "hardware": _described("the hardware", _hardware),
        "torch": _described("torch", _torch) or None,
        "variables": mask_secrets(variables),
    }


def _described(what: str, describe: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Describe something; what goes wrong in it is a side matter, which is told and ends no run."""
    try:
        return describe() or {}
    except Exception as error:
        log.warning("What is recorded of %s is not complete (%s: %s).", what, type(error).__name__, error)
        return {}


def _hardware() -> dict[str, Any]:
    import psutil

    return {
        "cpu": _cpu_model(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "gpus": _gpus(),
    }


class Described(NamedTuple):
    """Machine, packages, code and git state: what ``environment.json`` says, the run's tags, and the patch as bytes."""

    details: dict[str, Any]
    tags: dict[str, Any]
    patch: bytes


def describe_environment() -> Described:
    """Describe what a run is made with: `environment`, this package's source, and the git state around it."""
    read_environment()
    details = _described("the environment", environment)
    # The package's own source, which is in no repository where it is installed.
    details["code"] = {"version": VERSION, "sha256": code_sha256()}
    found = read_provenance(launch_dir(), FOLDER)
    if found is None:
        return Described(details, {}, b"")
    patch = found.patch.encode("utf-8", "surrogateescape")  # byte for byte what git wrote, or it would not apply
    details["git"] = {
        "commit": found.commit,
        "branch": found.branch,
        "dirty": found.dirty,
        "remotes": found.remotes,
        "left_out_of_patch": found.left_out,
        "root": found.root,
        "patch_sha256": sha256(patch).hexdigest(),
    }
    return Described(details, found.tags(), patch)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_name(number)) for number in range(torch.cuda.device_count())]


def _torch() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
