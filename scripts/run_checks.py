"""Runs every check of the project: `uv run --frozen python scripts/run_checks.py`.

All checks run, the tests last, so that one run shows everything there is to mend. Arguments are
handed to pytest. The exit status is 0 only if every check passed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent

CHECKS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("lint-imports",),
    ("codespell",),
    ("python", "-m", "scripts.measure_headroom", "--check"),
    ("python", "-m", "scripts.audit_dependencies"),
)


def passes(command: tuple[str, ...]) -> bool:
    """Whether the command, a program of this environment, exits with status 0."""
    print(f"\n== {' '.join(command)}", flush=True)
    program = [str(TOOLS / command[0]), *command[1:]]
    return subprocess.run(program, cwd=ROOT, check=False).returncode == 0


def main(pytest_arguments: list[str]) -> int:
    """0 if every check passed, else 1."""
    failed = [command for command in CHECKS if not passes(command)]
    for command in failed:
        print(f"\nFAILED: {' '.join(command)}", flush=True)
    tests_pass = passes(("pytest", *pytest_arguments))
    return 0 if tests_pass and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
