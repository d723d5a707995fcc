"""Write requirements.lock: every package that the project and its development need, at one version each."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
HEADER = "# Made by `make lock` from pyproject.toml; the Makefile installs exactly these.\n"


def main() -> None:
    """Resolve, then strip what belongs to one machine: index addresses, paths and local version labels."""
    with tempfile.TemporaryDirectory() as scratch:
        constraint = Path(scratch) / "constraints.txt"
        constraint.write_text(f"{TORCH}\n", encoding="utf-8")
        resolved = Path(scratch) / "resolved.txt"
        subprocess.run(
            [
                *(sys.executable, "-m", "piptools", "compile", "pyproject.toml", "--extra", "dev"),
                *("--strip-extras", "--no-header", "--no-annotate", "--no-emit-index-url"),
                *("--no-emit-find-links", "--no-emit-trusted-host", "--allow-unsafe", "--quiet"),
                *("--constraint", str(constraint), "--output-file", str(resolved)),
            ],
            cwd=ROOT,
            check=True,
        )
        lines = resolved.read_text(encoding="utf-8").splitlines()
    pins = [re.sub(r"\+[\w.]+$", "", line) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    (ROOT / "requirements.lock").write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8")
    sys.stdout.write(f"requirements.lock: {len(pins)} packages\n")


if __name__ == "__main__":
    main()
