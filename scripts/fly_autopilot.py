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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from agents.result_files import write_json, write_text
from scripts.flight_page import block
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
# A rule, and a policy that was trained on other hardware, with the options that they fly with: the
# memory of this server costs nobody anything, so that the policy is not to save it.
POLICIES: Final = {"aimd": (), "ppo_generalist": ("--hold", "kv_budget_fraction")}
LEG_S: Final = 30
LEGS: Final = 4  # with each policy, and as many without
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
    def autopilot(
        self, name: str, *options: str, policy: str = "aimd"
    ) -> Iterator[subprocess.Popen[str]]:
        """An autopilot that has decided once; ended at the end, if it is not yet."""
        command = [sys.executable, "-m", "llmserve_env", "autopilot", "--policy", policy]
        command += POLICIES[policy]
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
    """The same users without an autopilot and with each, in turn; each flight ends by Ctrl-C."""
    found: dict[str, Any] = {"without": [], "interrupted": []} | {name: [] for name in POLICIES}
    for leg in range(LEGS):
        found["without"].append(served(flight.users(LEG_S, SEED + leg), flight))
        for policy in POLICIES:
            name = f"{policy}{leg}"
            with flight.autopilot(name, policy=policy) as process:
                got = served(flight.users(LEG_S, SEED + leg), flight)
                found["interrupted"].append(interrupted(flight, process, SEED + leg))
            found[policy].append(got | moved(flight.decisions(name)))
        print(leg, {name: found[name][-1] for name in ("without", *POLICIES)}, flush=True)
    return found


def moved(decisions: Sequence[dict[str, Any]]) -> dict[str, int]:
    """What a flight did with the knobs."""
    caps = [each["in_force"]["batch_cap"] for each in decisions if each["in_force"]]
    return {
        "windows": len(decisions),
        "moves": sum(bool(each["changes"]) for each in decisions),
        "least_cap": min(caps),
        "largest_cap": max(caps),
    }


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
            "leg_s": LEG_S,
            "policies": POLICIES,
            "impossible_itl_ms": IMPOSSIBLE_ITL_MS,
            "watchdog_windows": WATCHDOG_WINDOWS,
            "legs": legs(flight),
            "killed": killed(flight),
            "hopeless": hopeless(flight),
        }
        lines = flight.audit("aimd0").read_text(encoding="utf-8").splitlines()
    write_json(RESULTS, results)
    write_text(AUDIT, "\n".join(lines[:AUDIT_LINES]) + "\n")
    text = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, filled(text, "flight", block(results)))


if __name__ == "__main__":
    main()
