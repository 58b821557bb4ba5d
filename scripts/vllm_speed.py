"""How slow a tiny vLLM is just now, beside the profile that its task was made for."""

from __future__ import annotations

import asyncio
import statistics
from typing import Final

from scripts.measure_step_times import decode_steps
from scripts.stream_load import PlannedRequest, send, settings_for
from scripts.tiny_deployment import FAST_PROFILE
from scripts.vllm_process import VllmProcess
from server.real_client import RealClient
from server.real_probe import measure_prompt_scale
from server.real_vllm_control import VllmControl
from simulator.perf_model import load_tables

SEQUENCES: Final = 16
PROMPT_TOKENS: Final = 16
OUTPUT_TOKENS: Final = 64
LEASE_S: Final = 60.0
MS_PER_S: Final = 1e3


def measure_slowdown(server: VllmProcess) -> float:
    """The time of a step of 16 sequences without drafts, over the profile's; takes seconds."""
    return asyncio.run(_measure(server))


def expected_ms(sequences: int, context_tokens: float) -> float:
    """The profile's time of a step in which so many sequences get a token."""
    tables = load_tables(FAST_PROFILE)
    return MS_PER_S * (
        tables.linear_time_s("FP16", sequences)
        + tables.lm_head_time_s(sequences)
        + tables.attn_decode_time_s(sequences, context_tokens)
    )


async def _measure(server: VllmProcess) -> float:
    client = RealClient(settings_for(server.base_url, "tiny"), server.base_url)
    control = VllmControl(server.control_url, holder="vllm_speed")
    try:
        scale = await measure_prompt_scale(client, server.base_url)
        await control.set_knobs({"speculation_depth": 0}, lease_s=LEASE_S)
        plan = [PlannedRequest(0.0, PROMPT_TOKENS, OUTPUT_TOKENS)] * SEQUENCES
        await send(client, scale, plan, seed=0)  # warms up
        times_s, context_tokens = decode_steps((await send(client, scale, plan, seed=1)).requests)
        await control.restore()
    finally:
        await client.close()
        await control.close()
    return MS_PER_S * statistics.median(times_s) / expected_ms(SEQUENCES, context_tokens)
