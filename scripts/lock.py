"""Write the lock files: every package that the project needs, at one version each.

``requirements.lock`` has what the project and its development need; ``requirements-launchers.lock`` what the
launchers for Ray and Slurm need besides, and ``requirements-bench.lock`` what the benchmark's other sides need on top.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LAUNCHERS_LOCK = ROOT / "requirements-launchers.lock"
BENCH_LOCK = ROOT / "requirements-bench.lock"
TORCH = "torch==2.13.0"


def main() -> None:
    """Lock the development environment, then the launchers on top of it."""
    pins = resolve(["dev"], [TORCH])
    write(LOCK, "Made by `make lock` from pyproject.toml; the Makefile installs exactly these.", pins)
    header = "Made by `make lock`; `make launchers` installs these on top of requirements.lock."
    lock_more(LAUNCHERS_LOCK, header, ["dev", "ray", "slurm"], [LOCK])
    header = (
        "Made by `make lock`; `make bench` installs these on top of requirements.lock and requirements-launchers.lock."
    )
    lock_more(BENCH_LOCK, header, ["dev", "ray", "slurm", "bench"], [LOCK, LAUNCHERS_LOCK])


def lock_more(file: Path, header: str, extras: Sequence[str], below: Sequence[Path]) -> None:
    """Lock what extras need besides; what is in the locks below stays as it is there."""
    lines = [line for lock in below for line in lock.read_text(encoding="utf-8").splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    write(file, header, [pin for pin in resolve(extras, pins) if pin not in pins])


def resolve(extras: Sequence[str], constraints: Sequence[str]) -> list[str]:
    """Resolve, then strip what belongs to one machine: index addresses, paths and local version labels."""
    with tempfile.TemporaryDirectory() as scratch:
        constraint = Path(scratch) / "constraints.txt"
        constraint.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        resolved = Path(scratch) / "resolved.txt"
        subprocess.run(
            [
                *(sys.executable, "-m", "piptools", "compile", "pyproject.toml"),
                *(word for extra in extras for word in ("--extra", extra)),
                *("--strip-extras", "--no-header", "--no-annotate", "--no-emit-index-url"),
                *("--no-emit-find-links", "--no-emit-trusted-host", "--allow-unsafe", "--quiet"),
                *("--constraint", str(constraint), "--output-file", str(resolved)),
            ],
            cwd=ROOT,
            check=True,
        )
        lines = resolved.read_text(encoding="utf-8").splitlines()
    return [re.sub(r"\+[\w.]+$", "", line) for line in lines if re.match(r"[A-Za-z0-9]", line)]


def write(file: Path, header: str, pins: Sequence[str]) -> None:
    """Write a lock file and say so."""
    file.write_text(f"# {header}\n" + "\n".join(pins) + "\n", encoding="utf-8")
    sys.stdout.write(f"{file.name}: {len(pins)} packages\n")


if __name__ == "__main__":
    main()
