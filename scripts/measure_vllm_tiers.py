"""Switches quantization_tier back and forth between two real vLLMs, and measures the switch.

    python -m scripts.measure_vllm_tiers --venv /tmp/vllm-venv --model /tmp/tiny-llama

Starts both itself, on a core each: the tiny model in float32, which stands for FP16, and the same
in bfloat16, which stands for INT8. One episode changes the tier every few windows under traffic;
then the second server is killed, and the tier asked for once more. Writes
docs/real_vllm/tiers.json and its part of docs/real_vllm.md.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from typing import Any, Final

from llmserve_env.models import QuantizationTier, ServeObservation
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from scripts.vllm_episodes import settings_on, tiny_task
from scripts.vllm_page import write_results
from scripts.vllm_process import VllmProcess, add_vllm_options, prefer_myself, running_vllm
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_vllm_control import VllmControl

WINDOWS_PER_TIER: Final = 3
SWITCHES: Final = 12
AFTER_THE_KILL: Final = 3  # windows
SEED: Final = 11
RATE_SCALE: Final = 0.4  # two servers share what one has otherwise
TIERS: Final[tuple[QuantizationTier, QuantizationTier]] = ("FP16", "INT8")


def switching_task() -> TaskSpec:
    """The tiny task's traffic and objectives on a deployment that offers the tiers."""
    bursty, tiny = shipped_catalogue().get("bursty_workload"), tiny_task()
    windows = WINDOWS_PER_TIER * (SWITCHES + 1) + AFTER_THE_KILL
    changes = {"windows": windows, "workload": tiny.workload, "slo": tiny.slo}
    changes |= {"default_action": tiny.default_action, "active_actions": ("quantization_tier",)}
    return bursty.model_copy(update=changes)


def play(environment: RealEnvironment, second: VllmProcess) -> list[ServeObservation]:
    """The windows of the episode; the second server dies before the last."""
    task = switching_task()
    environment.reset(task_id=task.task_id, seed=SEED)
    seen: list[ServeObservation] = []
    for window in range(task.windows):
        left, turn = task.windows - window, window // WINDOWS_PER_TIER
        if left == AFTER_THE_KILL:
            second.kill()
        turn = 1 if left <= AFTER_THE_KILL else turn
        action = task.default_action.model_copy(update={"quantization_tier": TIERS[turn % 2]})
        environment.advance(action)
        seen.append(environment.observation)
        vllm = seen[-1].metadata["real"]["vllm"]
        print(window, seen[-1].config.quantization_tier, vllm.get("tier_switch_ms"), flush=True)
    return seen


def summarize(seen: list[ServeObservation]) -> dict[str, Any]:
    """What the switches took and cost."""
    alive, after = seen[:-AFTER_THE_KILL], seen[-AFTER_THE_KILL:]
    told = [each.metadata["real"] for each in alive]
    took_ms = [each["vllm"]["tier_switch_ms"] for each in told if "tier_switch_ms" in each["vllm"]]
    failures = sum((Counter(each["failures"]) for each in told), Counter[str]())
    return {
        "switches": len(took_ms),
        "switch_ms": sorted(took_ms),
        "windows": len(alive),
        "finished": sum(each.finished_requests for each in alive),
        "failures": dict(failures),
        "after_the_kill": [
            {
                "in_force": each.config.quantization_tier,
                "finished": each.finished_requests,
                "problem": each.metadata["real"]["vllm"]["problem"],
            }
            for each in after
        ],
    }


async def defaults_in_force(server: VllmProcess) -> bool:
    """Whether a server is as vLLM starts it, and nobody holds it."""
    control = VllmControl(server.control_url, holder="measure_vllm_tiers")
    try:
        state = await control.read_state()
    finally:
        await control.close()
    return state.wanted == state.defaults and state.lease.holder is None


def run(first: VllmProcess, second: VllmProcess) -> dict[str, Any]:
    """Play and summarize."""
    settings = settings_on(
        first.base_url,
        first.control_url,
        real_rate_scale=RATE_SCALE,
        real_temperature=1.0,
        real_tier_urls={TIERS[1]: second.base_url},
        real_tier_control_urls={TIERS[1]: second.control_url},
        real_watchdog_windows=0,
    )
    version = shipped_catalogue().environment_version
    catalogue = Catalogue(environment_version=version, tasks=(switching_task(),))
    connection = RealConnection(settings)
    environment = RealEnvironment(connection, catalogue)
    try:
        results = summarize(play(environment, second))
        environment.close()
        connection.finish_started()
        results["restored"] = connection.run(defaults_in_force(first), limit_s=10.0)
    finally:
        environment.close()
        connection.close()
    return results


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_vllm_options(parser)
    options = parser.parse_args()
    prefer_myself()
    with running_vllm(options.venv, options.model, options.log) as first:
        os.environ["CORES"] = "1"
        flags = ("--dtype", "bfloat16")
        with running_vllm(options.venv, options.model, options.log, flags=flags) as second:
            write_results("tiers", run(first, second))


if __name__ == "__main__":
    main()
