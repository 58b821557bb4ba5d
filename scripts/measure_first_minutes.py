"""What a newcomer waits for: `llmserve demo`, the page, and a comparison on it.

    uv run python -m scripts.measure_first_minutes [--demo | --page] [--write]

The demo runs on a terminal of its own with its live chart, first with nothing compiled, then again.
The page is opened in a headless Chromium (Debian's packages chromium and chromium-driver) as a
first visitor sees it. `--write` puts what was measured into docs/web.md and docs/cli.md.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import platform
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from scripts.web_screenshots import ROOT, browser, server, until

ROWS, COLUMNS = 32, 110
LOADS: Final = 5
DEMO_PAGE, WEB_PAGE = ROOT / "docs" / "cli.md", ROOT / "docs" / "web.md"


def demo_s(compiled: Path) -> float:
    """Seconds from the command to the end of its final table, on a terminal.

    Args:
        compiled: Where compiled code is kept.

    Raises:
        InvalidInputError: If the demo fails.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environ = os.environ | {"NUMBA_CACHE_DIR": str(compiled), "TERM": "xterm-256color"}
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "llmserve_env", "demo"],
        cwd=ROOT,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = _all_of(ours)
    took_s = time.perf_counter() - began_s
    if process.wait() or b"grade" not in said:
        raise InvalidInputError(f"the demo failed: {said[-400:].decode(errors='replace')}")
    return took_s


def demo_lines() -> list[str]:
    """What the demo takes, cold and again."""
    with tempfile.TemporaryDirectory() as folder:
        cold_s = demo_s(Path(folder))
        warm_s = [demo_s(Path(folder)) for _ in range(2)]
    torch = "with" if importlib.util.find_spec("torch") else "without"
    return [
        f"`llmserve demo` from the command to the final table, 12 s of live chart included: "
        f"**{cold_s:.0f} s** with nothing compiled, then {min(warm_s):.0f} s ({torch} torch; "
        f"{machine()})."
    ]


def page_lines() -> list[str]:
    """What a visitor waits for on the page."""
    with server() as url:
        loads = [first_click_s(url) for _ in range(LOADS)]
        race_s = [comparison_s(url) for _ in range(3)]
    return [
        f"From opening `/web` to the first click that is answered: **{median(loads):.1f} s** "
        f"(median of {LOADS} fresh browsers, {min(loads):.1f} to {max(loads):.1f}). "
        f"From *Run live* to the final table of three agents over 200 windows: "
        f"**{median(race_s):.1f} s** ({min(race_s):.1f} to {max(race_s):.1f}). Browser and server "
        f"on the same {machine()}."
    ]


def first_click_s(url: str) -> float:
    """Seconds from opening the page to its answer to a click, in a fresh browser."""
    with browser() as driver:
        began_s = time.perf_counter()
        driver.get(f"{url}/web/")
        until(lambda: driver.find_element("id", "compare-run").is_displayed(), every_s=0.02)
        # Without an agent the answer is a sentence: what is timed is the page, not a play.
        until(lambda: _leaves_agents_out(driver), every_s=0.02)
        driver.find_element("id", "compare-run").click()
        until(lambda: "choose 1 to 6" in _text(driver, "compare-status"), every_s=0.02)
        return time.perf_counter() - began_s


def comparison_s(url: str) -> float:
    """Seconds from *Run live* to the last table, three agents."""
    with browser() as driver:
        driver.get(f"{url}/web/")
        until(lambda: driver.find_element("id", "compare-run").is_displayed())
        time.sleep(2.0)
        began_s = time.perf_counter()
        driver.find_element("id", "compare-run").click()
        until(lambda: "Done:" in _text(driver, "compare-status"), every_s=0.02)
        return time.perf_counter() - began_s


def machine() -> str:
    """The machine in words, and how busy it is."""
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.machine()}, load averages {loads}"


def put(page: Path, lines: Sequence[str], *, name: str = "measured") -> None:
    """Write lines between a page's markers.

    Raises:
        InvalidInputError: If the page has no such markers.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise InvalidInputError(f"{page} must hold {begin.strip()} and {end}")
    write_text(page, before + begin + "\n".join(lines) + "\n" + end + after)


def main() -> int:
    """Zero when all was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--demo", action="store_true", help="the demo alone")
    parser.add_argument("--page", action="store_true", help="the page alone")
    parser.add_argument("--write", action="store_true", help="into the documents, too")
    arguments = parser.parse_args()
    for is_wanted, measure, page in (
        (not arguments.page, demo_lines, DEMO_PAGE),
        (not arguments.demo, page_lines, WEB_PAGE),
    ):
        if is_wanted:
            lines = measure()
            print("\n".join(lines), flush=True)
            if arguments.write:
                put(page, lines)
    return 0


def _all_of(terminal: int) -> bytes:
    """What is written to a terminal until its program ends."""
    said = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # Linux says so when the other end has gone
            part = b""
        if not part:
            os.close(terminal)
            return said
        said += part


def _text(driver: Any, element_id: str) -> str:
    return str(driver.find_element("id", element_id).text)


def _leaves_agents_out(driver: Any) -> bool:
    """Whether no agent is chosen any more; a click before the page is ready does nothing."""
    chosen = driver.find_elements("css selector", "#compare-agents input:checked")
    for box in chosen:
        box.click()
    return not driver.find_elements("css selector", "#compare-agents input:checked")


if __name__ == "__main__":
    sys.exit(main())
