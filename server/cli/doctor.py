"""`llmserve doctor`: is a running server well, and of this version?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

import httpx
import typer
from rich.table import Table
from rich.text import Text

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from server.baseline_inference import DEFAULT_URL
from server.cli.checkups import CHECKS, TIMEOUT_S, Finding, Patient, examine
from server.cli.conventions import AsJson, ExitStatus, write_json
from server.cli.remote import address_of, reaching, shown
from server.cli.screens import progress_bar, screen

LONGEST_MS: Final = 60_000.0


def doctor(
    url: Annotated[str, typer.Option(help="The server's address.")] = DEFAULT_URL,
    max_latency_ms: Annotated[
        float, typer.Option(help="What a median step may take, there and back.")
    ] = 500.0,
    as_json: AsJson = False,
) -> ExitStatus:
    """Check every endpoint, /ws, latency and version of a server; exit with 1 if one is red."""
    if not 0.0 < max_latency_ms <= LONGEST_MS:
        raise InvalidInputError(
            f"--max-latency-ms must be above 0 and at most {LONGEST_MS:g}, got {max_latency_ms:g}"
        )
    address, findings = address_of(url), list[Finding]()
    with (
        reaching(url),
        httpx.Client(base_url=address, timeout=TIMEOUT_S) as client,
        progress_bar("checks", len(CHECKS)) as advance,
    ):
        client.get("/health")  # who cannot be reached at all need not be checked
        for finding in examine(Patient(address, client, max_latency_ms)):
            findings.append(finding)
            advance(finding)
    is_well = all(finding.is_ok for finding in findings)
    if as_json:
        write_json(
            {
                "url": shown(url),
                "environment_version": shipped_catalogue().environment_version,
                "is_ok": is_well,
                "checks": [asdict(finding) for finding in findings],
            }
        )
    else:
        _show(shown(url), findings)
    return ExitStatus.OK if is_well else ExitStatus.CHECK_FAILED


def _show(url: str, findings: list[Finding]) -> None:
    table = Table(title=f"{url}", title_justify="left")
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for each in findings:
        # A word beside the colour: not everybody sees green and red apart.
        mark = Text("ok", style="green") if each.is_ok else Text("BAD", style="bold red")
        table.add_row(mark, each.check, f"{each.took_ms:.0f}", Text(each.detail))
    bad = sum(not each.is_ok for each in findings)
    on_screen = screen()
    on_screen.print(table)
    on_screen.print(f"{bad} of {len(findings)} checks are bad." if bad else "All is well.")
