"""The environment as tools of the Model Context Protocol, for whoever has a seat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Final

import httpx
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.exceptions import ValidationError as InvalidCallError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp.types import CallToolRequestParams, ToolAnnotations
from pydantic import Field, ValidationError

from agents.load_forecast import MAX_HORIZON_WINDOWS, LoadForecast
from agents.tool_play import HOLDING
from llmserve_env.errors import LLMServeError
from llmserve_env.models import GradeReport, QuantizationTier, Seed, ServeAction
from llmserve_env.tasks import Catalogue, shipped_catalogue
from server.jobs import Turns, in_thread
from server.mcp_models import Observed, Played, RealObserved, Started, TaskSummary, summary_of
from server.mcp_seats import Seat, Seats
from server.problems import InvalidFieldsError

SERVER_NAME: Final = "llmserve"
INSTRUCTIONS: Final = (
    "Control an LLM serving deployment: call start_episode, then apply_config until done is true, "
    "then grade. apply_config sets the knobs that you name, leaves the others, and plays some "
    "windows of a second. The goal is the highest mean reward over all windows of the episode: "
    "windows that were not played count as missed."
)

# Where nobody else grades, as over stdin and stdout.
MOST_WAITING_GRADES: Final = 16

LOOKS: Final = ToolAnnotations(readOnlyHint=True, openWorldHint=False)
ACTS: Final = ToolAnnotations(readOnlyHint=False, destructiveHint=False, openWorldHint=False)

# A knob as ServeAction bounds and describes it, or None: it stays as it is.
_KNOBS: Final = ServeAction.model_fields
BatchCap = Annotated[int | None, _KNOBS["batch_cap"]]
KvBudget = Annotated[float | None, _KNOBS["kv_budget_fraction"]]
Speculation = Annotated[int | None, _KNOBS["speculation_depth"]]
Tier = Annotated[QuantizationTier | None, _KNOBS["quantization_tier"]]
Split = Annotated[bool | None, _KNOBS["prefill_decode_split"]]
Routing = Annotated[bool | None, _KNOBS["priority_routing"]]
HoldWindows = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=HOLDING.max_hold_windows,
        description="Windows of a second to play with it; fewer if objectives are missed that "
        "were met before.",
    ),
]
Horizon = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_HORIZON_WINDOWS, description="Windows to look ahead."),
]
TaskId = Annotated[str, Field(description="One of list_tasks.")]
EpisodeSeed = Annotated[
    Seed | None, Field(description="Fixes the traffic; drawn at random and told if left out.")
]


class ServingTools:
    """The tools, each on the seat of whoever calls it."""

    def __init__(self, seats: Seats, catalogue: Catalogue, turns: Turns) -> None:
        """Take who plays where, what there is to play, and whose turn it is to be graded."""
        self._seats, self._catalogue, self._turns = seats, catalogue, turns

    async def list_tasks(self) -> list[TaskSummary]:
        """The tasks that start_episode takes: objectives, length, and which knobs move."""
        return [summary_of(task) for task in self._catalogue.playable]

    async def start_episode(
        self, context: Context, task_id: TaskId = "static_workload", seed: EpisodeSeed = None
    ) -> Started:
        """Start an episode, in place of the one that was running; read its briefing."""
        with _refusing():
            seat = await self._seats.start(context, task_id=task_id, seed=seed)
        play = seat.play
        return Started(
            episode_id=play.last.metadata["episode_id"],
            task_id=play.last.task_id,
            seed=play.last.metadata["seed"],
            windows=play.task.windows,
            briefing=play.briefing.facts,
            config=play.last.config,
        )

    async def apply_config(
        self,
        context: Context,
        batch_cap: BatchCap = None,
        kv_budget_fraction: KvBudget = None,
        speculation_depth: Speculation = None,
        quantization_tier: Tier = None,
        prefill_decode_split: Split = None,
        priority_routing: Routing = None,
        hold_windows: HoldWindows = 1,
    ) -> Played:
        """Set the knobs that are named, leave the others, and play windows of a second with it."""
        named = {
            "batch_cap": batch_cap,
            "kv_budget_fraction": kv_budget_fraction,
            "speculation_depth": speculation_depth,
            "quantization_tier": quantization_tier,
            "prefill_decode_split": prefill_decode_split,
            "priority_routing": priority_routing,
        }
        change = {knob: value for knob, value in named.items() if value is not None}
        async with self._seat(context) as seat:
            turn = await asyncio.to_thread(seat.play.apply, change, hold_windows)
            return Played(
                windows_played=len(turn.rewards),
                rewards=turn.rewards,
                stopped_early=turn.stopped_early,
                windows_left=seat.play.windows_left,
                done=turn.observation.done,
                situation=seat.play.situation(),
            )

    async def observe(self, context: Context) -> Observed:
        """Everything measured in the last window, and the last 8 windows in short; plays none."""
        async with self._seat(context) as seat:
            return Observed.model_construct(
                windows_left=seat.play.windows_left,
                situation=seat.play.situation(),
                observation=seat.play.last,
            )

    async def forecast(self, context: Context, horizon_windows: Horizon = 10) -> LoadForecast:
        """The load to expect, from the windows seen alone, and how far such forecasts were off."""
        async with self._seat(context) as seat:
            return seat.play.forecast(horizon_windows)

    async def grade(self, context: Context) -> GradeReport:
        """The grade so far: 0 random, 0.5 the best fixed setting, 1 a planner that knows all.

        Windows that were not played count as missed: ask when the episode is over.
        """
        async with self._seat(context) as seat:
            seat.play.last  # noqa: B018  (refuses where nothing was started)
            async with self._turns.turn():
                return await in_thread(seat.episodes.grade)

    @asynccontextmanager
    async def _seat(self, context: Context) -> AsyncIterator[Seat]:
        with _refusing():
            seat = self._seats.of(context)
            async with seat.lock:
                yield seat


@contextmanager
def _refusing() -> Iterator[None]:
    """Tells the caller in a line what of its call cannot be done; no log, no traceback."""
    try:
        yield
    except (LLMServeError, httpx.HTTPError) as error:
        raise ToolError(" ".join(str(error).split()), log_level=logging.DEBUG) from error


class OneLineRefusals(Middleware):
    """Says of a call with wrong arguments in one line what came and what would be right."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """The tool's answer."""
        try:
            return await call_next(context)
        except InvalidCallError as error:
            cause = error.__cause__
            if not isinstance(cause, ValidationError):
                raise
            refused = InvalidFieldsError(cause, properties=await _arguments_of(context))
            raise ToolError(str(refused), log_level=logging.DEBUG) from None


async def _arguments_of(
    context: MiddlewareContext[CallToolRequestParams],
) -> Mapping[str, Any] | None:
    """JSON schemas of the arguments of the tool that is called."""
    calling = context.fastmcp_context
    tool = None if calling is None else await calling.fastmcp.get_tool(context.message.name)
    return None if tool is None else tool.parameters["properties"]


def serving_mcp(
    seats: Seats,
    *,
    catalogue: Catalogue | None = None,
    is_real: bool = False,
    turns: Turns | None = None,
) -> FastMCP[Any]:
    """An MCP server with the environment's tools.

    Args:
        seats: Who plays where.
        catalogue: What there is to play; what ships if left out.
        is_real: Whether a real server is played on, where some measurements are None.
        turns: Of grades, shared with whoever else grades in this process; its own if left out.
    """
    # It would log the arguments of every call that it refuses.
    logging.getLogger("fastmcp").setLevel(logging.ERROR)
    tasks = shipped_catalogue() if catalogue is None else catalogue
    server: FastMCP[Any] = FastMCP(
        SERVER_NAME,
        instructions=INSTRUCTIONS,
        version=tasks.environment_version,
        middleware=[OneLineRefusals()],
        mask_error_details=True,
    )
    if turns is None:
        turns = Turns(at_once=1, max_waiting=MOST_WAITING_GRADES)
    tools = ServingTools(seats, tasks, turns)
    observed = RealObserved if is_real else Observed
    looks: Sequence[Any] = (tools.list_tasks, tools.forecast, tools.grade)
    for look in looks:
        server.tool(look, annotations=LOOKS)
    server.tool(tools.observe, annotations=LOOKS, output_schema=observed.model_json_schema())
    server.tool(tools.start_episode, annotations=ACTS)
    server.tool(tools.apply_config, annotations=ACTS)
    return server
