"""Measures how long one iteration of a small real server takes; writes raw rows as CSV.

    .venv/bin/python -m scripts.measure_step_times --url http://127.0.0.1:8300/v1 --rounds 2
    .venv/bin/python -m scripts.measure_step_times --append --rounds 2

Three kinds of micro-benchmarks, in rounds, so that drift of the machine meets all kinds alike:

    decode   so many equal requests at once; the step time while all of them decode
    prefill  one prompt alone; its time to first token, the API's share included
    mixed    one prompt arrives while others decode; the longest gap that they see

Rows go to simulator/data/measured/; a round takes about a minute and a half. The server must not
cache prefixes. scripts/fit_step_times.py makes a profile of the rows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from llmserve_env.errors import LLMServeError
from scripts.row_files import read_rows, write_rows
from scripts.server_facts import check_loopback, read_conditions
from scripts.stream_load import Load, PlannedRequest, TimedRequest, send, settings_for
from server.real_client import RealClient
from server.real_probe import measure_prompt_scale
from server.real_prompts import PromptScale

DEFAULT_OUTPUT: Final = Path("simulator/data/measured/cpu_tiny_steps.csv")
# (sequences, prompt tokens): the batch at short contexts, then longer contexts.
DECODES: Final = (
    *((count, 16) for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)),
    *((4, 1_024), (8, 512), (16, 256), (24, 384), (2, 1_800)),
)
PREFILLS: Final = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1_024, 1_536, 1_900)
# (sequences that decode, tokens of the prompt that arrives)
MIXES: Final = ((1, 128), (4, 64), (4, 512), (8, 128), (8, 256), (16, 64), (16, 128), (32, 128))
DECODE_TOKENS: Final = 48
MIXED_TOKENS: Final = 80
JOINS_AFTER_S: Final = 0.6  # all others decode by then
# The client itself is busy while it sends a large batch, which is before any step is timed.
MOST_STARVED_FRACTION: Final = 0.5
# The client's delay over the time of a single step; beyond this it is no time at all.
MOST_LAG: Final = 0.5
ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class StepRow:
    """One measurement; `ms` is the time of a step, or with kind prefill the time to first token.

    Attributes:
        kind: decode, prefill or mixed.
        round: In which it was taken, from 0.
        sequences: That decoded.
        context_tokens: Mean tokens in the KV cache of each of them.
        new_tokens: Of the prompt that was computed, as the server counted them.
        ms: Mean over the steps.
        median_ms: Median over the steps.
        steps: How many were measured.
        client_lag_ms: The client's worst delay during the measurement.
    """

    kind: str
    round: int
    sequences: int
    context_tokens: float
    new_tokens: int
    ms: float
    median_ms: float
    steps: int
    client_lag_ms: float


async def measure(url: str, model: str, rounds: range) -> list[StepRow]:
    """All rows of these rounds; measurements with a starved client or a failure are left out.

    Raises:
        ValueError: If the server is not on this machine.
        RealServerError: If it does not answer.
    """
    check_loopback(url)
    client = RealClient(settings_for(url, model), url)
    try:
        scale = await measure_prompt_scale(client, url)
        await send(client, scale, [PlannedRequest(0.0, 64, 16)] * 4, seed=0)  # warms up
        rows: list[StepRow] = []
        for number in rounds:
            rows += [row async for row in _round(client, scale, number)]
            print(f"round {number}: {len(rows)} rows", flush=True)
    finally:
        await client.close()
    return rows


async def _round(client: RealClient, scale: PromptScale, number: int) -> AsyncIterator[StepRow]:
    for index, (kind, plan) in enumerate(_plans()):
        load = await send(client, scale, plan, seed=1_000 * number + index)
        if load.failures or load.starved_fraction > MOST_STARVED_FRACTION:
            print(f"left out: {kind}, {load.failures} failures, lag {load.lag_s:.2f} s")
            continue
        row = _row(kind, number, load)
        if row.steps == 1 and row.client_lag_ms > MOST_LAG * row.ms:
            print(f"left out: {kind}, {row.ms:.1f} ms by a client {row.client_lag_ms:.1f} ms late")
            continue
        yield row


def _plans() -> Iterator[tuple[str, list[PlannedRequest]]]:
    """What a round sends."""
    for tokens in PREFILLS:
        yield "prefill", [PlannedRequest(0.0, tokens, 2)]
    for count, prompt in DECODES:
        yield "decode", [PlannedRequest(0.0, prompt, DECODE_TOKENS)] * count
    for count, prompt in MIXES:
        running = [PlannedRequest(0.0, 16, MIXED_TOKENS)] * count
        yield "mixed", [*running, PlannedRequest(JOINS_AFTER_S, prompt, 2)]


def _row(kind: str, number: int, load: Load) -> StepRow:
    if kind == "prefill":
        request = load.requests[0]
        times, batch, context, new = [request.ttft_s], 0, 0.0, request.prompt_tokens
    elif kind == "decode":
        times, context = decode_steps(load.requests)
        batch, new = len(load.requests), 0
    else:
        *running, joiner = load.requests
        times, context = [joining_gap(running, joiner)], _context_at(running, joiner)
        batch, new = len(running), joiner.prompt_tokens
    milliseconds = 1e3 * np.array(times)
    return StepRow(
        kind=kind,
        round=number,
        sequences=batch,
        context_tokens=round(context, 1),
        new_tokens=new,
        ms=round(float(milliseconds.mean()), 3),
        median_ms=round(float(np.median(milliseconds)), 3),
        steps=len(times),
        client_lag_ms=round(1e3 * load.lag_s, 1),
    )


def decode_steps(requests: tuple[TimedRequest, ...]) -> tuple[list[float], float]:
    """Step times in seconds while all requests decode, and their mean context in tokens."""
    begun_s = max(request.chunk_s[0] for request in requests)
    ended_s = min(request.finish_s for request in requests)
    last = max(requests, key=lambda request: request.chunk_s[0])
    stamps = [at_s for at_s in last.chunk_s if begun_s <= at_s <= ended_s]
    middle_s = 0.5 * (begun_s + ended_s)
    context = np.mean([_context_tokens(request, middle_s) for request in requests])
    return list(np.diff(stamps)), float(context)


def joining_gap(running: list[TimedRequest], joiner: TimedRequest) -> float:
    """The median over the running requests of their gap in which the joiner's first token came."""
    at_s, gaps = joiner.chunk_s[0], []
    for request in running:
        stamps = np.array(request.chunk_s)
        nearest = int(np.abs(stamps - at_s).argmin())
        gaps.append(float(stamps[nearest] - stamps[nearest - 1]))
    return float(np.median(gaps))


def _context_at(running: list[TimedRequest], joiner: TimedRequest) -> float:
    return float(np.mean([_context_tokens(each, joiner.chunk_s[0]) for each in running]))


def _context_tokens(request: TimedRequest, at_s: float) -> int:
    return request.prompt_tokens + sum(stamp_s <= at_s for stamp_s in request.chunk_s)


def main() -> int:
    """The exit status: 1 if too few measurements were fit to be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8300/v1")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--append", action="store_true", help="keep the rounds that are there")
    parser.add_argument("--note", default="", help="conditions that the server does not tell")
    options = parser.parse_args()
    began_s = time.monotonic()
    kept = read_rows(options.output, StepRow) if options.append else []
    first = 1 + max((row.round for row in kept), default=-1)
    rounds = range(first, first + options.rounds)
    try:
        rows = asyncio.run(measure(options.url, options.model, rounds))
    except (LLMServeError, ValueError) as error:
        parser.error(str(error))
    planned = options.rounds * sum(1 for _ in _plans())
    conditions = read_conditions(options.url, options.note)
    write_rows(options.output, [asdict(row) for row in [*kept, *rows]], conditions)
    print(f"{len(rows)} of {planned} rows in {time.monotonic() - began_s:.0f} s")
    return int(len(rows) < 0.8 * planned)


if __name__ == "__main__":
    sys.exit(main())
