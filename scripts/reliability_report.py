"""Keeps the results of fuzzing, soaking and load in docs/reliability.json, and writes the page.

    uv run python -m scripts.reliability_report

Each script that tries the server writes its own section; this makes docs/reliability.md from all.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agents.result_files import write_json, write_text
from scripts.local_server import ROOT

RESULTS: Final = ROOT / "docs" / "reliability.json"
PAGE: Final = ROOT / "docs" / "reliability.md"
# Steps a second over those of a bare echo.
ASKED_RATIOS: Final = {"http": 0.9, "ws": 0.8}
HEAD: Final = """\
# What was tried on the server, and what happened

Written by `scripts/reliability_report.py` from `docs/reliability.json`, which the scripts named
below write. What is promised stands in [operations.md](operations.md).
"""


def known_result(name: str) -> dict[str, Any] | None:
    """The result of this name, if there is one."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return dict(known[name]["result"]) if name in known else None


def write_section(name: str, result: Mapping[str, Any]) -> None:
    """Put a result into the file, in place of the last one of its name, and write the page."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    load = [round(average, 1) for average in os.getloadavg()]
    known[name] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "load_averages_at_end": load,
        "result": dict(result),
    }
    write_json(RESULTS, known)
    write_text(PAGE, page(known))


def page(known: Mapping[str, Any]) -> str:
    """The page; a section for every result that there is."""
    parts = [HEAD]
    for name, (title, command, section) in SECTIONS.items():
        if name in known:
            run = known[name]
            where = (
                f"`{command}`, {run['date']}, {run['machine']}, "
                f"load averages {', '.join(map(str, run['load_averages_at_end']))}."
            )
            parts.append(f"## {title}\n\n{where}\n\n{section(run['result'])}")
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [" | ".join(map(str, row)) for row in (head, ("---",) * len(head), *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _fuzz(result: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = [
        (
            where,
            tally["sent"],
            tally["failed"],
            tally["hangs"],
            tally.get("late", 0),
            f"{tally['slowest_s']:.2f}",
        )
        for where, tally in (("HTTP", result["http"]), ("/ws", result["ws"]))
    ]
    head = ("over", "sent", "failed", "hangs", "late", "slowest answer, s")
    answers = {where: result[where]["answers"] for where in ("http", "ws")}
    told = "\n".join(
        f"- {where}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        for where, counts in answers.items()
    )
    seeds = ", ".join(map(str, result["seeds"]))
    tracebacks = f"Seeds {seeds}. Tracebacks in the log: {result['tracebacks']}."
    late = "Late: more than 10 s, on a machine whose CPUs others use."
    return f"{_table(head, rows)}\n{late}\n\nAnswers:\n\n{told}\n\n{tracebacks}\n"


def _soak(result: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = [
        (name.replace("_", " "), value) for name, value in result["figures"].items()
    ]
    return _table(("figure", "value"), rows) + (
        "\nClients of all kinds at once; those that play check every answer against the same "
        "episode played alone.\n"
    )


def _protocol(result: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = [
        (
            row["over"],
            row["clients"],
            f"{row['ours_per_s']:.0f}",
            f"{row['echo_per_s']:.0f}",
            f"{row['ratio']:.2f}",
            f"{ASKED_RATIOS[row['over']]:g}, {_met(row)}",
            f"{row['ours_cpu_us']:.0f}",
            f"{row['echo_cpu_us']:.0f}",
        )
        for row in result["rows"]
    ]
    head = ("over", "clients", "steps/s", "echo, steps/s", "ratio", "asked")
    return _table((*head, "CPU µs a step", "echo, CPU µs"), rows) + (
        "\nThe echo is a bare OpenEnv environment behind OpenEnv's own application. It simulates "
        "nothing and answers a tenth of the bytes. Medians of rounds that take turns; the ratio is "
        "that of each round's. One process serves all clients, so CPU time a step is what bounds "
        "them.\n"
    )


def _met(row: Mapping[str, Any]) -> str:
    return "met" if row["ratio"] >= ASKED_RATIOS[row["over"]] else "**missed**"


def _health(result: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = [
        (
            row["while"],
            row["asked"],
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            f"{row['max_ms']:.1f}",
        )
        for row in result["rows"]
    ]
    return _table(("while", "asked", "p50 ms", "p99 ms", "max ms"), rows)


def _faults(result: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = [
        (
            row["program"],
            row["fault"],
            row["happened"],
            row["promised"],
            "yes" if row["holds"] else "**no**",
        )
        for row in result["rows"]
    ]
    head = ("program", "fault", "what happened", "what is promised", "holds")
    missing = "; ".join(result["not_tried"]) or "nothing"
    return f"{_table(head, rows)}\nNot tried here: {missing}.\n"


def _upgrade(result: Mapping[str, Any]) -> str:
    seen = ", ".join(f"{name}: {count}" for name, count in result["seen_by_clients"].items())
    rows: list[tuple[object, ...]] = [
        (name.replace("_", " "), value)
        for name, value in result.items()
        if name != "seen_by_clients"
    ]
    return _table(("figure", "value"), [*rows, ("seen by clients", seen or "nothing")]) + (
        "\nA server on its port is told to stop while clients play, half over HTTP and half on "
        "/ws; the next one is started there, and they go on from their logs.\n"
    )


def _dashboard(result: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = [
        (row["panel"], f"`{row['query']}`".replace("|", "\\|"), row["series"], row["example"])
        for row in result["rows"]
    ]
    doctor = result["doctor"]
    return (
        f"`llmserve doctor`: {doctor['checks']} checks, {len(doctor['bad'])} bad. Every query of "
        "`docs/grafana_dashboard.json`, on Debian's Prometheus, while episodes are played:\n\n"
        + _table(("panel", "query", "series", "a value"), rows)
    )


SECTIONS: Final[Mapping[str, tuple[str, str, Callable[[Mapping[str, Any]], str]]]] = {
    "fuzz": ("Whatever a schema allows, and more", "scripts/fuzz_server.py", _fuzz),
    "soak": ("Many clients, some of them bad", "scripts/soak_server.py", _soak),
    "faults": ("Faults", "scripts/try_faults.py", _faults),
    "upgrade": ("A server is replaced under load", "scripts/try_upgrade.py", _upgrade),
    "dashboard": ("Doctor and dashboard", "scripts/check_dashboard.py", _dashboard),
    "health": ("/health while others work", "scripts/measure_health.py", _health),
    "protocol": ("Speed beside a bare echo", "scripts/benchmark_protocol.py", _protocol),
}

if __name__ == "__main__":
    write_text(PAGE, page(json.loads(RESULTS.read_text(encoding="utf-8"))))
