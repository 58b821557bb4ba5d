"""The `llmserve` command, also as `python -m llmserve_env`: hands over to `server.cli`.

The names of our top-level packages are not ours alone. Where another package of the same name is
found first, or lies over ours, the command says which instead of failing somewhere inside.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGES: Final = ("simulator", "grader", "agents", "server")
OURS: Final = "openenv-llmserve-env"
CANNOT: Final = 2  # as server.cli.conventions.ExitStatus.WRONG_INPUT


def main() -> None:
    """Run the command line of this process."""
    try:
        # By name, because this floor does not know the ones above it.
        import_module("server.cli.main").main()
    except ImportError as error:
        if clashes := list(name_clashes()):
            sys.stderr.write(f"llmserve: {error}: {'; '.join(clashes)} (docs/layout.md, Names)\n")
            sys.exit(CANNOT)
        raise


def name_clashes() -> Iterator[str]:
    """Whoever stands where our packages should be, a clause each."""
    home = Path(__file__).resolve().parents[1]
    installed = packages_distributions()
    for name in PACKAGES:
        spec = find_spec(name)
        origin = None if spec is None else spec.origin
        if origin is None or Path(origin).resolve().parents[1] != home:
            yield f"the package `{name}` is {origin or 'missing'}, not the one in {home}"
        elif others := sorted({*installed.get(name, ())} - {OURS}):
            yield f"the package `{name}` is installed by {', '.join(others)}, too"


if __name__ == "__main__":
    main()
