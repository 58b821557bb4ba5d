"""Flies `llmserve autopilot` on a real vLLM under users' own traffic, and ends it in every way.

    python -m scripts.fly_autopilot --venv /tmp/vllm-venv --model /tmp/tiny-llama

Starts the tiny vLLM itself. The same users ask with and without the autopilot in turn; then it is
interrupted, killed, and given an objective that nobody can meet. Writes
docs/real_vllm/autopilot.json and its part of docs/autopilot.md; the audit of one flight, shortened,
is docs/real_vllm/autopilot_audit.jsonl.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from agents.result_files import write_json, write_text
from scripts.local_server import ROOT
from scripts.measure_vllm_faults import LIMIT_S, server_state
from scripts.stream_load import Load, PlannedRequest, send, settings_for
from scripts.vllm_episodes import rate_scale_at, tiny_task
from scripts.vllm_process import VllmProcess, add_vllm_options, prefer_myself, running_vllm
from scripts.vllm_speed import measure_slowdown
from scripts.write_readme_tables import filled
from server.real_client import RealClient
from server.real_probe import measure_prompt_scale
from server.real_traffic import scaled_task
from simulator.workload import task_requests

PAGE: Final = ROOT / "docs" / "autopilot.md"
RESULTS: Final = ROOT / "docs" / "real_vllm" / "autopilot.json"
AUDIT: Final = ROOT / "docs" / "real_vllm" / "autopilot_audit.jsonl"
POLICY: Final = "aimd"
LEG_S: Final = 30
LEGS: Final = 2  # with the autopilot, and as many without
SHORT_S: Final = 15
ENDED_AFTER_S: Final = 7  # of SHORT_S, so that users are asking and being answered
IMPOSSIBLE_ITL_MS: Final = 0.5
WATCHDOG_WINDOWS: Final = 5
AUDIT_LINES: Final = 20
SEED: Final = 4_000
MS_PER_S: Final = 1e3


class Flight:
    """Users of a server, and autopilots on it."""

    def __init__(self, server: VllmProcess, folder: Path) -> None:
        """Look how fast the server is; traffic and objectives go by that."""
        self.server, self.folder = server, folder
        self.slowdown = measure_slowdown(server)
        slo = tiny_task().slo
        self.ttft_ms = round(slo.ttft_ms[0] * self.slowdown)
        self.itl_ms = round(slo.itl_ms[0] * self.slowdown, 1)

    def users(self, seconds: int, seed: int) -> Load:
        """Let the users ask for so long, and wait for their answers."""
        return asyncio.run(self._users(seconds, seed))

    async def _users(self, seconds: int, seed: int) -> Load:
        rate = rate_scale_at(self.slowdown)
        task = scaled_task(tiny_task(windows=seconds), rate_scale=rate, slo_scale=1.0)
        drawn = task_requests(task, seed)
        columns = (drawn.arrival_s, drawn.prompt_tokens, drawn.output_tokens)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        client = RealClient(settings_for(self.server.base_url, "tiny"), self.server.base_url)
        try:
            scale = await measure_prompt_scale(client, self.server.base_url)
            return await send(client, scale, [PlannedRequest(*row) for row in rows], seed=seed)
        finally:
            await client.close()

    @contextmanager
    def asking(self, seed: int) -> Iterator[None]:
        """Users in the background who have asked for a while, and go on asking."""
        crowd = threading.Thread(target=self.users, args=(SHORT_S, seed))
        crowd.start()
        try:
            time.sleep(ENDED_AFTER_S)
            yield
        finally:
            crowd.join()

    @contextmanager
    def autopilot(self, name: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        """An autopilot that has decided once; ended at the end, if it is not yet."""
        command = [sys.executable, "-m", "llmserve_env", "autopilot", "--policy", POLICY]
        command += ["--url", self.server.base_url.removesuffix("/v1")]
        command += ["--control-url", self.server.control_url, "--audit", str(self.audit(name))]
        command += ["--slo-ttft-p99", str(self.ttft_ms), "--slo-itl-p99", str(self.itl_ms)]
        process = subprocess.Popen(
            [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            while process.poll() is None and not self.decisions(name):
                time.sleep(0.2)
            yield process
        finally:
            process.kill()
            process.communicate()

    def audit(self, name: str) -> Path:
        """Where the decisions of a flight are."""
        return self.folder / f"{name}.jsonl"

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """The decisions of a flight so far."""
        path = self.audit(name)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def until_default(self) -> float:
        """Seconds until vLLM's defaults are wanted again.

        Raises:
            TimeoutError: If they are not in LIMIT_S.
        """
        began_s = time.monotonic()
        while not server_state(self.server)["is_default"]:
            if time.monotonic() - began_s > LIMIT_S:
                raise TimeoutError("vLLM's defaults did not come back")
            time.sleep(0.05)
        return time.monotonic() - began_s


def served(load: Load, flight: Flight) -> dict[str, float]:
    """What the users of a leg got."""
    answered = [each for each in load.requests if each.failure is None]
    ttft_ms = [each.ttft_s * MS_PER_S for each in answered]
    tpot_ms = [each.tpot_s * MS_PER_S for each in answered if each.output_tokens > 1]
    met = sum(
        each.ttft_s * MS_PER_S <= flight.ttft_ms
        and (each.output_tokens < 2 or each.tpot_s * MS_PER_S <= flight.itl_ms)
        for each in answered
    )
    return {
        "requests": len(load.requests),
        "failures": load.failures,
        "within_objectives": met / len(load.requests),
        "ttft_p50_ms": statistics.median(ttft_ms),
        "tpot_p50_ms": statistics.median(tpot_ms),
    }


def legs(flight: Flight) -> dict[str, Any]:
    """The same users without and with the autopilot, in turn; each flight ends by Ctrl-C."""
    found: dict[str, Any] = {"without": [], "with": [], "interrupted": []}
    for leg in range(LEGS):
        found["without"].append(served(flight.users(LEG_S, SEED + leg), flight))
        with flight.autopilot(f"leg{leg}") as process:
            found["with"].append(served(flight.users(LEG_S, SEED + leg), flight))
            found["interrupted"].append(interrupted(flight, process, SEED + leg))
        decided = flight.decisions(f"leg{leg}")
        caps = [each["in_force"]["batch_cap"] for each in decided if each["in_force"]]
        found["with"][-1] |= {
            "windows": len(decided),
            "moves": sum(bool(each["changes"]) for each in decided),
            "least_cap": min(caps),
            "largest_cap": max(caps),
        }
        print(leg, found["without"][-1], found["with"][-1], flush=True)
    return found


def interrupted(
    flight: Flight, process: subprocess.Popen[str], seed: int
) -> dict[str, float | int | str]:
    """Ctrl-C under traffic: how the command ends, and how long until the defaults are back."""
    with flight.asking(seed):
        before, began_s = server_state(flight.server), time.monotonic()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=LIMIT_S)
        ended_s = time.monotonic() - began_s
        later_s = flight.until_default()
    return {
        "status": process.returncode,
        "running_before": before["engine"]["running"],
        "was_default_before": before["is_default"],
        "ended_s": ended_s,
        "seconds": later_s,
        "last_words": " ".join(said.strip().splitlines()[-2:]),
    }


def killed(flight: Flight) -> dict[str, float | bool]:
    """Kill -9 under traffic: how long until the lease brings the defaults back."""
    with flight.autopilot("killed") as process, flight.asking(SEED + LEGS):
        before = server_state(flight.server)
        process.kill()
        process.wait()
        return {
            "windows": len(flight.decisions("killed")),
            "running_before": before["engine"]["running"],
            "was_default_before": before["is_default"],
            "seconds": flight.until_default(),
        }


def hopeless(flight: Flight) -> dict[str, Any]:
    """An objective that nobody can meet: the watchdog has to give the defaults back."""
    options = ("--watchdog-windows", str(WATCHDOG_WINDOWS), "--slo-itl-p99", str(IMPOSSIBLE_ITL_MS))
    with flight.autopilot("hopeless", *options) as process:
        flight.users(SHORT_S, SEED + LEGS + 1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    decided = flight.decisions("hopeless")
    tripped = [each for each in decided if each["watchdog"]["is_tripped"]]
    return {
        "windows": len(decided),
        "tripped_windows": len(tripped),
        "first": tripped[0]["window"] if tripped else None,
        "caps": sorted({each["in_force"]["batch_cap"] for each in tripped if each["in_force"]}),
    }


def block(results: dict[str, Any]) -> Iterator[str]:
    """What came of it."""
    first = results["legs"]["with"]
    yield (
        f"Steps took {results['slowdown']:.2f} times those of profile `cpu-tiny-fast`; objectives "
        f"{results['ttft_ms']} ms and {results['itl_ms']} ms. `{POLICY}` decided "
        f"{sum(each['windows'] for each in first)} times and moved a knob in "
        f"{sum(each['moves'] for each in first)} windows; the batch cap went from "
        f"{min(each['least_cap'] for each in first)} to "
        f"{max(each['largest_cap'] for each in first)}."
    )
    yield ""
    yield (
        "| users, the same in both | requests | failures | within objectives | TTFT p50, ms "
        "| TPOT p50, ms |"
    )
    yield "|---|---|---|---|---|---|"
    for leg in range(LEGS):
        for name in ("without", "with"):
            each = results["legs"][name][leg]
            yield (
                f"| {leg + 1}, {name} the autopilot | {each['requests']} | {each['failures']} "
                f"| {each['within_objectives']:.2f} | {each['ttft_p50_ms']:.0f} "
                f"| {each['tpot_p50_ms']:.0f} |"
            )
    yield ""
    ends, kill, dog = results["legs"]["interrupted"], results["killed"], results["hopeless"]
    yield (
        f"- **Ctrl-C** with {' and '.join(str(each['running_before']) for each in ends)} requests "
        f"running: the command ended after {max(each['ended_s'] for each in ends):.1f} s at most, "
        f"exit status {' and '.join(str(each['status']) for each in ends)}; vLLM's defaults were "
        f"in force {max(each['seconds'] for each in ends):.1f} s later at most."
    )
    yield (
        f"- **kill -9** after {kill['windows']} windows, {kill['running_before']} requests "
        "running: the defaults were back "
        f"{kill['seconds']:.1f} s later, by the lease."
    )
    yield (
        f"- **Watchdog**: with an ITL of {IMPOSSIBLE_ITL_MS} ms as the objective and "
        f"`--watchdog-windows {WATCHDOG_WINDOWS}` it tripped in window {dog['first']} and held "
        f"vLLM's own batch cap ({', '.join(map(str, dog['caps']))}) in {dog['tripped_windows']} of "
        f"{dog['windows']} windows."
    )


def main() -> None:
    """Fly and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_vllm_options(parser)
    options = parser.parse_args()
    prefer_myself()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_vllm(options.venv, options.model, options.log) as server,
    ):
        flight = Flight(server, Path(folder))
        results = {
            "slowdown": flight.slowdown,
            "ttft_ms": flight.ttft_ms,
            "itl_ms": flight.itl_ms,
            "legs": legs(flight),
            "killed": killed(flight),
            "hopeless": hopeless(flight),
        }
        lines = flight.audit("leg0").read_text(encoding="utf-8").splitlines()
    write_json(RESULTS, results)
    write_text(AUDIT, "\n".join(lines[:AUDIT_LINES]) + "\n")
    text = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, filled(text, "flight", block(results)))


if __name__ == "__main__":
    main()
