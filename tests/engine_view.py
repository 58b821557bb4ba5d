"""What the engine's arrays say, read request by request: the books that the laws check."""

from __future__ import annotations

import math

from simulator import state as layout
from simulator.trace_simulator import TraceSimulator

BLOCK_TOKENS = 16


def waiting(simulator: TraceSimulator, replica: int) -> list[int]:
    """The requests in a replica's waiting lists."""
    state, found = simulator.engine.state, []
    for priority_class in range(layout.CLASSES):
        index = int(state.queues[0, replica, priority_class, layout.QUEUE_HEAD])
        while index != layout.NOBODY:
            found.append(index)
            index = int(state.requests[0, index]["next_waiting"])
    return found


def deadline_s(simulator: TraceSimulator, index: int) -> float:
    """A request of the same class that arrived before this and has no token yet is overdue."""
    env, terms = simulator.engine.state.environments[0], simulator.engine.deployment.terms[0]
    priority_class = int(simulator.engine.state.requests[0, index]["priority_class"])
    api_s = float(terms["api_s"] * env["host_scale"])
    return float(env["now_s"]) + api_s - float(terms[f"ttft_slo_s_{priority_class}"])


def handed_off(simulator: TraceSimulator) -> list[int]:
    """The requests between the prefill and the decode replica, in order."""
    state, found = simulator.engine.state, []
    index = int(state.environments[0]["handoff_head"])
    while index != layout.NOBODY:
        found.append(index)
        index = int(state.requests[0, index]["next_waiting"])
    return found


def decoding(simulator: TraceSimulator, replica: int, steps_ahead: int = 0) -> dict[int, int]:
    """Context of the decoding requests in 1/1024 tokens, after so many steps more."""
    state = simulator.engine.state
    slots, row = state.slots[0, replica], state.replicas[0, replica]
    steps = int(row["steps"]) + steps_ahead
    return {
        int(slots[layout.DECODE_REQUEST, i]): int(
            slots[layout.DECODE_OFFSET, i] + steps * slots[layout.DECODE_RATE, i]
        )
        for i in range(row["decoding"])
    }


def prefilling(simulator: TraceSimulator, replica: int) -> dict[int, int]:
    """Tokens that the prefilling requests must compute."""
    state = simulator.engine.state
    slots, row = state.slots[0, replica], state.replicas[0, replica]
    return {
        int(slots[layout.PREFILL_REQUEST, i]): int(slots[layout.PREFILL_TARGET, i])
        for i in range(row["prefilling"])
    }


def blocks_at_end_of_run(simulator: TraceSimulator, replica: int) -> int:
    """KV blocks that a replica holds when what it does now is done, counted per request."""
    state = simulator.engine.state
    ahead = int(state.replicas[0, replica]["run_steps"])
    tokens = [context // layout.TOKEN for context in decoding(simulator, replica, ahead).values()]
    tokens += [target + 1 for target in prefilling(simulator, replica).values()]
    if replica == layout.PREFILL_REPLICA:
        table = state.requests[0]
        tokens += [
            int(table[i]["prompt_tokens"] + table[i]["generated"] // layout.TOKEN)
            for i in handed_off(simulator)
        ]
    return sum(math.ceil(count / BLOCK_TOKENS) for count in tokens)


def generated(simulator: TraceSimulator) -> int:
    """Output tokens of all requests so far in 1/1024 tokens, those still decoding included."""
    state = simulator.engine.state
    table = state.requests[0, : len(simulator.requests)]
    total = int(table["generated"].sum())
    for replica in range(simulator.task.deployment.gpus):
        for index, context in decoding(simulator, replica).items():
            prompt = int(table[index]["prompt_tokens"]) * layout.TOKEN
            total += context - prompt - int(table[index]["generated"])
    return total
