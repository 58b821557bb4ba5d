"""Plays on a real vLLM what must not hang: a long episode, a killed server, a killed controller.

    python -m scripts.measure_vllm_faults --venv /tmp/vllm-venv --model /tmp/tiny-llama

Starts the tiny vLLM itself. Writes docs/real_vllm/faults.json and the transcripts in
docs/real_vllm.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from agents.registry import make_agent
from agents.rollout import play_episode
from llmserve_env.models import ServeObservation
from scripts.local_server import ROOT
from scripts.vllm_episodes import environment_on, settings_on, tiny_task
from scripts.vllm_page import read_kept, write_results
from scripts.vllm_process import (
    VllmProcess,
    add_vllm_options,
    prefer_myself,
    running_vllm,
    start_vllm,
)

AGENT: Final = "aimd"
STEADY: Final = "vllm_default"  # rules need measurements, which a dead server does not give
SEED: Final = 7
LONG_WINDOWS: Final = 200
SHORT_WINDOWS: Final = 60
KILLED_AT: Final = 10  # window
LEASE_S: Final = 5.0
LIMIT_S: Final = 60.0


class Transcript:
    """Lines of what happened, with the seconds since it began."""

    def __init__(self) -> None:
        """Begin now."""
        self.lines: list[str] = []
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        """Add a line."""
        self.lines.append(f"{time.monotonic() - self._began_s:6.1f} s  {text}")
        print(self.lines[-1], flush=True)

    def window(self, observation: ServeObservation) -> None:
        """Add a line about a window."""
        real = observation.metadata["real"]
        vllm = real["vllm"]
        self.say(
            f"window {observation.step_index:3d}  cap {observation.config.batch_cap:3d}  "
            f"running {observation.active_requests:2d}  waiting {observation.queue_depth:2d}  "
            f"goodput {observation.goodput_tps:5.0f}  failures {real['failures']}  "
            f"valid {real['is_valid']}"
            + (f"  problem: {vllm['problem']}" if vllm["problem"] else "")
        )


def play(
    server: VllmProcess,
    transcript: Transcript,
    *,
    windows: int,
    agent: str,
    told: Callable[[int], bool],
    on_window: Callable[[int], None] | None = None,
) -> list[ServeObservation]:
    """The observations of an episode; windows for which `told` says so are in the transcript."""
    seen: list[ServeObservation] = []

    def note(observation: ServeObservation) -> None:
        seen.append(observation)
        if told(len(seen)):
            transcript.window(observation)
        if on_window is not None:
            on_window(len(seen))

    settings = settings_on(
        server.base_url,
        server.control_url,
        real_lease_s=LEASE_S,
        real_watchdog_windows=0,
        real_request_timeout_s=20.0,
    )
    with environment_on(settings, windows=windows) as environment:
        play_episode(
            make_agent(agent),
            tiny_task(windows=windows),
            SEED,
            episodes=environment,
            on_window=note,
        )
    return seen


def long_episode(server: VllmProcess) -> dict[str, Any]:
    """A closed loop of LONG_WINDOWS windows."""
    transcript = Transcript()
    began_s = time.monotonic()
    seen = play(server, transcript, windows=LONG_WINDOWS, agent=AGENT, told=lambda n: n % 20 == 0)
    took_s = time.monotonic() - began_s
    real = [each.metadata["real"] for each in seen]
    moved_ms = statistics.median(each["vllm"]["moved_ms"] for each in real)
    caps = [each.config.batch_cap for each in seen]
    failures = sum((Counter(each["failures"]) for each in real), Counter[str]())
    transcript.say(f"the server says: {_told(server)}")
    outcome = (
        f"{len(seen)} windows in {took_s:.0f} s under `{AGENT}`: "
        f"{sum(each.finished_requests for each in seen)} requests finished, failures "
        f"{dict(failures) or 'none'}; the batch cap went from {min(caps)} to {max(caps)}, a move "
        f"was in force after {moved_ms:.0f} ms (median); {sum(e['is_valid'] for e in real)} "
        "windows are valid. Afterwards vLLM's defaults are in force."
    )
    return {"outcome": outcome, "transcript": transcript.lines}


def killed_server(server: VllmProcess, options: argparse.Namespace) -> dict[str, Any]:
    """The server is killed in mid-episode and started again; the same episode goes on."""
    transcript, again = Transcript(), list[VllmProcess]()

    def restart() -> None:
        again.append(start_vllm(options.venv, options.model, options.log, port=server.port))
        transcript.say(f"vLLM answers again, started in {again[0].start_s:.0f} s")

    restarting = threading.Thread(target=restart)

    def act(window: int) -> None:
        if window == KILLED_AT:
            server.kill()
            transcript.say("all of vLLM's processes are killed (SIGKILL) and started again")
            restarting.start()

    try:
        seen = play(
            server,
            transcript,
            windows=SHORT_WINDOWS,
            agent=STEADY,
            told=lambda n: n in (KILLED_AT, KILLED_AT + 1, KILLED_AT + 2) or n % 10 == 0,
            on_window=act,
        )
        restarting.join()
        transcript.say(f"the server says: {_told(again[0])}")
    finally:
        for each in again:
            each.stop()
    lost = [each for each in seen if each.metadata["real"]["vllm"]["problem"]]
    served = sum(each.finished_requests for each in seen[-10:])
    outcome = (
        f"Nothing hangs: {len(seen)} windows were played, {len(lost)} of them marked invalid as "
        f"`control_lost` while nobody answered; in the last ten {served} requests finished."
    )
    return {"outcome": outcome, "transcript": transcript.lines}


def killed_controller(server: VllmProcess, *, how: signal.Signals) -> dict[str, Any]:
    """The process that holds the lease ends; SIGKILL leaves it to the lease."""
    transcript = Transcript()
    played = subprocess.Popen(
        [sys.executable, "-m", "scripts.measure_vllm_faults", "--play", str(server.port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = played.stdout
    if lines is None:
        raise RuntimeError("the controller's output was not opened")
    for _ in range(KILLED_AT):
        lines.readline()
    transcript.say(f"after {KILLED_AT} windows: {_told(server)}")
    os.kill(played.pid, how)
    began_s = time.monotonic()
    transcript.say(f"{how.name} to the controller")
    while not server_state(server)["is_default"] and time.monotonic() - began_s < LIMIT_S:
        time.sleep(0.05)
    took_s = time.monotonic() - began_s
    transcript.say(f"the server says: {_told(server)}")
    played.wait(timeout=LIMIT_S)
    lines.close()
    end = server_state(server)["lease"]["last_end"]
    outcome = f"vLLM's defaults are back after {took_s:.1f} s; the lease was {end}."
    return {"outcome": outcome, "transcript": transcript.lines}


def play_only(port: int) -> None:
    """Play until told to stop, by SIGTERM as a server is; a line per window."""
    urls = f"http://127.0.0.1:{port}/v1", f"http://127.0.0.1:{port + 1}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = settings_on(*urls, real_lease_s=LEASE_S)
    with environment_on(settings, windows=LONG_WINDOWS) as environment:
        play_episode(
            make_agent(AGENT),
            tiny_task(windows=LONG_WINDOWS),
            SEED,
            episodes=environment,
            on_window=lambda each: print(each.step_index, flush=True),
        )


def server_state(server: VllmProcess) -> dict[str, Any]:
    """What the control channel says."""
    with urllib.request.urlopen(f"{server.control_url}/state", timeout=10) as answer:
        state: dict[str, Any] = json.load(answer)
        return state


def _told(server: VllmProcess) -> str:
    state = server_state(server)
    lease = state["lease"]
    holder = "nobody" if lease["holder"] is None else f"{lease['left_s']:.1f} s left"
    return (
        f"batch_cap {state['wanted']['batch_cap']}, default {state['is_default']}, lease: {holder}"
        f", the last one {lease['last_end']}, running {state['engine']['running']}"
    )


def main() -> None:
    """Play everything and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--play", type=int, metavar="PORT", help=argparse.SUPPRESS)
    add_vllm_options(parser, is_required="--play" not in sys.argv)
    options = parser.parse_args()
    if options.play is not None:
        play_only(options.play)
        return
    prefer_myself()
    with running_vllm(options.venv, options.model, options.log) as server:
        kill, stop = signal.SIGKILL, signal.SIGTERM
        keep("A closed loop", long_episode(server))
        keep("The controller is killed", killed_controller(server, how=kill))
        keep("The controller is told to stop", killed_controller(server, how=stop))
        keep("The server is killed", killed_server(server, options))


def keep(name: str, episode: dict[str, Any]) -> None:
    """Write an episode beside those that were kept before."""
    kept = read_kept("faults").get("episodes", {})
    write_results("faults", {"episodes": kept | {name: episode}})


if __name__ == "__main__":
    main()
