"""Does the project do what its README promises? Asked as a judge would, before it is handed in.

    uv run --frozen python scripts/pre_submission_check.py --skip-docker
    uv run --frozen --extra openai python scripts/pre_submission_check.py --skip-docker --json
    ... --space-url https://someone-llmserve-env.hf.space    # and a Space that runs

Starts a server on a free port of this machine. Exit status: 0 if no check failed (skipped ones are
named with their reason), 1 if one did, 2 if the arguments are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import httpx
import typer
from rich.table import Table
from rich.text import Text
from websockets.exceptions import WebSocketException

from agents.llm_settings import DEFAULT_MODEL
from llmserve_env.errors import LLMServeError
from scripts import submission_files, submission_server
from scripts.local_server import local_server
from scripts.submission_files import Check, FailedCheckError, SkippedCheckError
from server.cli.screens import progress_bar, screen

# A judge asks quickly; how often one may ask is not what is checked.
UNLIMITED: Final = {
    "LLMSERVE_EXPENSIVE_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_STEP_REQUESTS_PER_MINUTE": "0",
}
Status = Literal["pass", "FAIL", "skipped"]
COLOURS: Final[dict[Status, str]] = {"pass": "green", "FAIL": "bold red", "skipped": "yellow"}


@dataclass(frozen=True, slots=True)
class Result:
    """What one check came to.

    Attributes:
        check: Its name.
        status: FAIL counts against the project.
        detail: What was seen, or why it was not looked at.
        took_s: How long it took.
    """

    check: str
    status: Status
    detail: str
    took_s: float


def results(checks: Iterable[Check]) -> Iterator[Result]:
    """Make the checks one after the other; one that fails does not stop those after it."""
    for name, check in checks:
        began_s = time.monotonic()
        status: Status = "pass"
        try:
            detail = check()
        except SkippedCheckError as error:
            status, detail = "skipped", str(error)
        except (FailedCheckError, LLMServeError, typer.TyperException) as error:
            status, detail = "FAIL", str(error)
        except (KeyError, TypeError, AttributeError) as error:
            status, detail = "FAIL", f"the answer is not of this form: {error!r}"
        except (httpx.HTTPError, WebSocketException, OSError, ValueError) as error:
            status, detail = "FAIL", f"{type(error).__name__}: {error}"
        yield Result(name, status, " ".join(detail.split()), time.monotonic() - began_s)


def all_results(arguments: argparse.Namespace) -> Iterator[Result]:
    """The results of every check that the arguments ask for."""
    yield from results(submission_files.checks(with_docker=not arguments.skip_docker))
    model = arguments.model if arguments.run_openai_baseline else None
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        try:
            with local_server(Path(folder) / "server.log", **UNLIMITED) as server:
                yield Result("server starts", "pass", server.url, time.monotonic() - began_s)
                runtime = arguments.baseline_runtime
                yield from results(
                    submission_server.checks(server.url, runtime=runtime, model=model)
                )
        except RuntimeError as error:
            took_s = time.monotonic() - began_s
            yield Result("server starts", "FAIL", str(error)[-400:], took_s)
    if arguments.space_url is not None:
        yield from results(submission_server.space_checks(arguments.space_url.rstrip("/")))


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--skip-docker", action="store_true", help="do not build the image")
    add("--space-url", help="look at this server, too, such as a Space's")
    add("--run-openai-baseline", action="store_true", help="ask --model: this costs money")
    add("--baseline-runtime", choices=("in-process", "http"), default="in-process")
    add("--model", default=DEFAULT_MODEL, help="of --run-openai-baseline")
    add("--json", action="store_true", help="write one JSON document to stdout")
    arguments = parser.parse_args(argv)
    if arguments.space_url and not arguments.space_url.startswith(("http://", "https://")):
        parser.error(
            f"--space-url must begin with http:// or https://, got {arguments.space_url!r}"
        )
    return arguments


def main(argv: Sequence[str]) -> int:
    """0 if no check failed, else 1."""
    arguments = parse_arguments(argv)
    found = list[Result]()
    with progress_bar("checks", None) as advance:
        for result in all_results(arguments):
            found.append(result)
            advance(result)
    failed = sum(result.status == "FAIL" for result in found)
    if arguments.json:
        document = {"is_ok": not failed, "checks": [asdict(result) for result in found]}
        print(json.dumps(document, indent=1))
    else:
        show(found)
    return int(bool(failed))


def show(found: Sequence[Result]) -> None:
    """The results as a table, and how many were bad."""
    table = Table(title="Before handing in", title_justify="left")
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for each in found:
        mark = Text(each.status, style=COLOURS[each.status])
        table.add_row(mark, each.check, f"{each.took_s:.1f}", Text(each.detail))
    console = screen()
    console.print(table)
    counted = {status: sum(each.status == status for each in found) for status in COLOURS}
    console.print(", ".join(f"{count} {status}" for status, count in counted.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
