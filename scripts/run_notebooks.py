"""Runs notebooks from top to bottom, as a reader would, and tells what each cell took.

    uv run --frozen python -m scripts.run_notebooks [--html FOLDER] [NOTEBOOK ...]

Every code cell must run without an error. Nothing is written into the notebooks: they are kept
without outputs. With --html they are left with their outputs as pages, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from llmserve_env.errors import InvalidInputError

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "notebooks"
# A cell that takes longer hangs.
CELL_LIMIT_S: Final = 600
FAILED, WRONG_ARGUMENTS = 1, 2


def main() -> int:
    """Zero if every cell ran."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of notebooks/ if left out")
    parser.add_argument("--html", type=Path, help="leave each with its outputs as a page here")
    arguments = parser.parse_args()
    try:
        for path in arguments.notebooks or sorted(FOLDER.glob("*.ipynb")):
            notebook = executed(path)
            tell(path, notebook)
            if arguments.html is not None:
                arguments.html.mkdir(parents=True, exist_ok=True)
                target = arguments.html / f"{path.stem}.html"
                target.write_text(page(notebook), encoding="utf-8")
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def executed(path: Path) -> Any:
    """The notebook with what its cells gave, run by this Python in the notebook's own folder.

    Raises:
        InvalidInputError: If there is no such file, or it is no notebook.
        RuntimeError: If a cell fails or hangs.
    """
    # Without it jupyter-core warns about where it keeps files.
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    import nbclient
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # untyped
    except (OSError, nbformat.reader.NotJSONError) as error:
        raise InvalidInputError(f"cannot read the notebook {path}: {error}") from error
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_LIMIT_S,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        startup_timeout=CELL_LIMIT_S,
    )
    try:
        return client.execute()
    except nbclient.exceptions.CellTimeoutError as error:
        raise RuntimeError(f"{path.name}: a cell took more than {CELL_LIMIT_S} s") from error
    except nbclient.exceptions.CellExecutionError as error:
        raise RuntimeError(f"{path.name}: {error.ename}: {error.evalue}") from error


def tell(path: Path, notebook: Any) -> None:
    """Print what each code cell took, and the slowest but the one that compiles the engine."""
    print(path.name)
    times = {cell["id"]: took_s(cell) for cell in code_cells(notebook)}
    for cell in code_cells(notebook):
        first = cell["source"].splitlines()[0]
        print(f"  {times[cell['id']]:6.2f} s  {cell['id']}  {first[:70]}")
    _, *others = times.values()
    print(f"  slowest after the first {max(others):.2f} s, all {sum(times.values()):.2f} s")


def code_cells(notebook: Any) -> Iterator[Any]:
    """The cells that run."""
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def took_s(cell: Any) -> float:
    """Seconds from the start of a cell to its reply, by the kernel's own account."""
    times = cell["metadata"]["execution"]
    began, ended = (
        datetime.fromisoformat(times[name]) for name in ("iopub.status.busy", "shell.execute_reply")
    )
    return (ended - began).total_seconds()


def page(notebook: Any) -> str:
    """The notebook as a plain page: texts and code as they are written, outputs as they show."""
    parts = []
    for cell in notebook["cells"]:
        parts.append(f"<pre>{escape(cell['source'])}</pre>")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            shown = data.get("text/html") or escape(data.get("text/plain", output.get("text", "")))
            parts.append(f"<div>{shown}</div>")
    return f"<!doctype html><meta charset='utf-8'>{''.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
