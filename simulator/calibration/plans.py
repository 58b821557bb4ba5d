"""The loads that a calibration measures, in which order, and what they ask of a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from llmserve_env.errors import InvalidInputError
from simulator.calibration.closed_loop import ClosedLoad, ClosedLoop
from simulator.calibration.records import PlanName, Role, ServerLimits, Visit
from simulator.rng import stream

# Of a chat template and of an instruction; and prompts are made of about so many tokens.
SPARE_TOKENS: Final = 64
REQUESTS_PER_CLIENT: Final = 3
LEAST_REQUESTS: Final = 4
REPEATS: Final = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """The loads of a plan.

    Attributes:
        most_clients: The fitted loads have 1, 2, 4 and so on clients up to this.
        longest_prompt: Of all loads.
        prompt_divisors: The fitted loads' prompts are the longest one over these.
        output_tokens: Of the fitted loads.
        mixed_output: Least and most output tokens of the loads that are held out.
    """

    most_clients: int
    longest_prompt: int
    prompt_divisors: tuple[int, ...]
    output_tokens: int
    mixed_output: tuple[int, int]


GRIDS: Final[dict[PlanName, Grid]] = {
    "quick": Grid(16, 1_024, (8, 1), 64, (16, 96)),
    "standard": Grid(64, 2_048, (16, 4, 1), 128, (32, 256)),
}


def grid_of(
    name: PlanName, *, most_clients: int | None = None, longest_prompt: int | None = None
) -> Grid:
    """The plan's grid, with these limits in place of its own."""
    grid = GRIDS[name]
    return Grid(
        grid.most_clients if most_clients is None else most_clients,
        grid.longest_prompt if longest_prompt is None else longest_prompt,
        grid.prompt_divisors,
        grid.output_tokens,
        grid.mixed_output,
    )


def visits_of(grid: Grid, limits: ServerLimits, *, seed: int) -> tuple[Visit, ...]:
    """Every load REPEATS times, each time all of them in another order.

    Loads with the numbers of clients in between, and lengths at random, are held out from the fit:
    they ask it for what it did not see. Repeats are far apart in time, so that a machine that
    drifts shows as spread and not as an effect of the number of clients.

    Raises:
        InvalidInputError: If a request would not fit the server's context.
    """
    longest = grid.longest_prompt + max(grid.output_tokens, grid.mixed_output[1])
    if longest + SPARE_TOKENS > limits.max_model_len:
        room = limits.max_model_len - longest + grid.longest_prompt - SPARE_TOKENS
        raise InvalidInputError(
            f"prompts of {grid.longest_prompt} tokens, answers and {SPARE_TOKENS} spare tokens do "
            f"not fit --max-model-len {limits.max_model_len}: --longest-prompt {room} at most"
        )
    rng, visits = stream(seed, "calibration/plan"), []
    for _ in range(REPEATS):
        loads = [*_fitted(grid), *_held_out(grid, rng)]
        visits += [loads[i]._replace(number=int(i)) for i in rng.permutation(len(loads))]
    return tuple(
        Visit(
            load=load.number,
            name=load.name,
            role=load.role,
            clients=load.clients,
            prompt_tokens=tuple(load.prompt_tokens),
            output_tokens=tuple(load.output_tokens),
        )
        for load in visits
    )


def kv_tokens(visits: Sequence[Visit]) -> int:
    """Tokens that the server's KV cache must hold for no visit to preempt."""
    return max(
        sum(sorted(map(sum, zip(v.prompt_tokens, v.output_tokens, strict=True)))[-v.clients :])
        for v in visits
    )


def planned_s(visits: Sequence[Visit], loop: ClosedLoop) -> float:
    """How long the visits take if the server is as fast as the engine's own constants say."""
    constants = loop.own_constants
    loads = (
        ClosedLoad(
            visit.clients,
            np.array(visit.prompt_tokens, np.int64),
            np.array(visit.output_tokens, np.int64),
        )
        for visit in visits
    )
    return sum(loop.play(load, constants).duration_s for load in loads)


class _Load(NamedTuple):
    number: int
    name: str
    role: Role
    clients: int
    prompt_tokens: list[int]
    output_tokens: list[int]


def _fitted(grid: Grid) -> Iterator[_Load]:
    output = grid.output_tokens
    for divisor in grid.prompt_divisors:
        prompt = max(grid.longest_prompt // divisor, 1)
        for clients in _doubled(grid.most_clients):
            count = _requests(clients)
            name = f"{clients} x {prompt} in, {output} out"
            yield _Load(0, name, "fit", clients, [prompt] * count, [output] * count)


def _held_out(grid: Grid, rng: np.random.Generator) -> Iterator[_Load]:
    """Numbers of clients half-way between the fitted ones, lengths spread evenly on a log scale."""
    low_output, high_output = grid.mixed_output
    shortest = max(grid.longest_prompt // max(grid.prompt_divisors), 1)
    for clients in [3 * n // 2 for n in _doubled(grid.most_clients) if 1 < n < grid.most_clients]:
        count = _requests(clients)
        prompts = _log_uniform(rng, shortest, grid.longest_prompt, count)
        outputs = _log_uniform(rng, low_output, high_output, count)
        yield _Load(0, f"{clients} x mixed", "held_out", clients, prompts, outputs)


def _doubled(most: int) -> list[int]:
    return [2**n for n in range(most.bit_length())]


def _requests(clients: int) -> int:
    return max(REQUESTS_PER_CLIENT * clients, LEAST_REQUESTS)


def _log_uniform(rng: np.random.Generator, low: int, high: int, count: int) -> list[int]:
    drawn = np.exp(rng.uniform(np.log(low), np.log(high), size=count))
    return [int(value) for value in np.rint(drawn)]
