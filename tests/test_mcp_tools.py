"""The MCP tools, called by fastmcp's own client in this process."""

import asyncio
import json
import re

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError

from agents.tool_play import ToolPlay
from llmserve_env.errors import CapacityReachedError
from llmserve_env.models import KNOBS, ServeAction
from server.graded import GradedEnvironment
from server.jobs import Turns
from server.mcp_seats import ClientSeats, OneSeat, Seat
from server.mcp_tools import serving_mcp
from server.openenv_adapter import OpenEnvServing
from server.sessions import SessionStore

TOOLS = {"list_tasks", "start_episode", "apply_config", "observe", "forecast", "grade"}


def one_seat():
    environment = GradedEnvironment()
    return serving_mcp(OneSeat(Seat(environment, ToolPlay(environment))))


def calling(script, server=None):
    """What the script returns, a function of a connected client."""

    async def connected():
        async with Client(server or one_seat()) as client:
            return await script(client)

    return asyncio.run(connected())


async def answer(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert json.loads(result.content[0].text) == result.structured_content.get(
        "result", result.structured_content
    )
    return result.structured_content


async def refusal(client, tool, **arguments):
    with pytest.raises(ToolError) as refused:
        await client.call_tool(tool, arguments)
    return str(refused.value)


def test_the_tools_are_named_so_that_openenv_takes_them_and_all_are_described():
    tools = calling(lambda client: client.list_tools())

    assert {tool.name for tool in tools} == TOOLS
    assert {"reset", "step", "state", "close"}.isdisjoint(TOOLS)
    for tool in tools:
        assert tool.description
        for schema in tool.inputSchema["properties"].values():
            assert schema["description"]
        assert tool.inputSchema["additionalProperties"] is False
        assert tool.outputSchema["type"] == "object"


def test_the_knobs_have_the_bounds_and_words_of_the_contract():
    tools = calling(lambda client: client.list_tools())

    schema = next(tool for tool in tools if tool.name == "apply_config").inputSchema
    contract = ServeAction.model_json_schema()["properties"]
    assert "required" not in schema
    for knob in KNOBS:
        told = dict(schema["properties"][knob])
        kind, _ = told.pop("anyOf")
        expected = {key: value for key, value in contract[knob].items() if key != "title"}
        assert {**kind, "description": told["description"]} == expected


def test_an_episode_is_played_to_its_grade():
    async def script(client):
        started = await answer(client, "start_episode", task_id="static_workload", seed=3)
        played = await answer(client, "apply_config", batch_cap=64, hold_windows=50)
        while not played["done"]:
            played = await answer(client, "apply_config", hold_windows=50)
        return started, played, await answer(client, "grade")

    started, played, grade = calling(script)

    assert started["seed"] == 3
    assert "Task static_workload" in started["briefing"]
    assert played["windows_left"] == 0
    assert grade["is_complete"]
    assert 0.0 < grade["score"] < 1.0


def test_partial_actions_keep_the_other_knobs():
    async def script(client):
        await answer(client, "start_episode", seed=3)
        await answer(client, "apply_config", batch_cap=64)
        await answer(client, "apply_config", kv_budget_fraction=0.5, batch_cap=None)
        return await answer(client, "observe")

    observed = calling(script)

    assert observed["observation"]["config"]["batch_cap"] == 64
    assert observed["observation"]["config"]["kv_budget_fraction"] == 0.5
    assert observed["observation"]["step_index"] == 2
    assert observed["windows_left"] == 198


def test_a_forecast_sees_what_was_played_and_no_more():
    async def script(client):
        await answer(client, "start_episode", task_id="bursty_workload", seed=3)
        before = await answer(client, "forecast")
        await answer(client, "apply_config", hold_windows=2)
        return before, await answer(client, "forecast", horizon_windows=5)

    before, after = calling(script)

    assert before["expected_rps"] is None
    assert after["windows_seen"] == 2
    assert after["low_rps"] is None
    assert "Nothing is known of traffic to come" in after["basis"]


def test_every_task_is_listed_with_what_its_knobs_do():
    async def script(client):
        return (await answer(client, "list_tasks"))["result"]

    tasks = {task["task_id"]: task for task in calling(script)}

    assert tasks["bursty_workload"]["knobs"]["quantization_tier"] == "warm"
    assert tasks["bursty_workload"]["knobs"]["priority_routing"] == "fixed"
    assert tasks["bursty_workload"]["graded"]
    assert len(tasks) > 3


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("apply_config", {"batch_cap": 513}, "batch_cap: .*integer from 1 to 512.*got 513"),
        ("apply_config", {"batch_cap": "64"}, "batch_cap: .*from 1 to 512.*got '64'"),
        ("apply_config", {"kv_budget_fraction": 2}, "number from 0.1 to 1.0.*got 2"),
        ("apply_config", {"quantization_tier": "FP8"}, "FP16 or INT8 or INT4.*got 'FP8'"),
        ("apply_config", {"prefill_decode_split": 1}, "true or false.*got 1"),
        ("apply_config", {"hold_windows": 0}, "hold_windows: .*integer from 1 to 50.*got 0"),
        ("apply_config", {"batch": 64}, "batch: Unexpected keyword argument, got 64"),
        ("apply_config", {"priority_routing": True}, "holds priority_routing fixed at False"),
        ("forecast", {"horizon_windows": 51}, "integer from 1 to 50.*got 51"),
        ("start_episode", {"task_id": "nope"}, "unknown task_id 'nope'; known tasks: static"),
        ("start_episode", {"seed": -1}, "seed: .*integer from 0 to 9223372036854775807.*got -1"),
        ("nothing", {}, "Unknown tool: 'nothing'"),
    ],
)
def test_a_bad_call_is_refused_in_one_line_with_value_and_range(tool, arguments, words):
    async def script(client):
        await answer(client, "start_episode", seed=3)
        said = await refusal(client, tool, **arguments)
        return said, await answer(client, "observe")

    said, observed = calling(script)

    assert "\n" not in said
    assert "https://" not in said
    assert re.search(words, said), said
    assert observed["observation"]["step_index"] == 0


@pytest.mark.parametrize("tool", ["apply_config", "observe", "forecast", "grade"])
def test_nothing_but_a_start_can_be_done_before_an_episode(tool):
    said = calling(lambda client: refusal(client, tool))

    assert said == "no episode is running; call start_episode first"


def test_a_variant_has_no_grade_and_says_so():
    async def script(client):
        await answer(client, "start_episode", task_id="static_azure_conv", seed=1)
        return await refusal(client, "grade")

    assert "is a variant and not graded" in calling(script)


def test_a_refusal_leaves_no_traceback_and_no_arguments_in_the_log(caplog):
    async def script(client):
        await refusal(client, "apply_config", batch_cap="secret")
        await refusal(client, "start_episode", task_id="secret")

    calling(script)

    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def seats_for(limit, clock=None):
    clock = clock or Clock()
    store = SessionStore(limit=limit, ttl_s=600.0, limit_per_owner=9, clock=clock)
    return store, ClientSeats(store)


def test_two_clients_at_once_play_episodes_of_their_own():
    _, seats = seats_for(4)
    server = serving_mcp(seats)

    async def both():
        async with Client(server) as first, Client(server) as second:
            await answer(first, "start_episode", task_id="static_workload", seed=1)
            unknown = await refusal(second, "observe")
            await answer(second, "start_episode", task_id="bursty_workload", seed=2)
            calls = [answer(client, "apply_config", batch_cap=9) for client in (first, second)]
            await asyncio.gather(*calls, *[answer(first, "apply_config") for _ in range(3)])
            return unknown, await answer(first, "observe"), await answer(second, "observe")

    unknown, first, second = asyncio.run(both())

    assert unknown == "no episode is running; call start_episode first"
    assert first["observation"]["task_id"] == "static_workload"
    assert first["observation"]["step_index"] == 4
    assert second["observation"]["task_id"] == "bursty_workload"
    assert second["observation"]["step_index"] == 1


def test_clients_beyond_the_limit_are_refused_and_those_who_play_are_not():
    store, seats = seats_for(1)
    server = serving_mcp(seats)

    async def both():
        async with Client(server) as first, Client(server) as second:
            await answer(first, "start_episode", seed=1)
            said = await refusal(second, "start_episode", seed=1)
            await answer(first, "start_episode", seed=2)
            return said

    assert asyncio.run(both()) == str(CapacityReachedError(1))
    assert len(store) == 1


def test_an_idle_episode_is_closed_and_its_client_told_to_start_again():
    clock = Clock()
    store, seats = seats_for(1, clock)

    async def script(client):
        await answer(client, "start_episode", seed=1)
        clock.now_s += 601.0
        said = await refusal(client, "apply_config")
        again = await refusal(client, "apply_config")
        await answer(client, "start_episode", seed=1)
        return said, again

    said, again = calling(script, serving_mcp(seats))

    assert "idle for too long" in said
    assert "call start_episode again" in said
    assert again == "no episode is running; call start_episode first"
    assert len(store) == 1


def test_a_start_that_fails_takes_no_place():
    store, seats = seats_for(1)

    async def script(client):
        await refusal(client, "start_episode", task_id="nope")
        return len(store)

    assert calling(script, serving_mcp(seats)) == 0


def test_a_client_that_starts_twice_at_once_has_one_place():
    store, seats = seats_for(4)

    async def script(client):
        await asyncio.gather(*(answer(client, "start_episode", seed=n) for n in range(3)))
        return len(store)

    assert calling(script, serving_mcp(seats)) == 1


def seated(turns):
    environment = GradedEnvironment()
    return serving_mcp(OneSeat(Seat(environment, ToolPlay(environment))), turns=turns)


def behind_openenv(turns):
    return OpenEnvServing(turns=turns).mcp_server


@pytest.mark.parametrize("serve", [seated, behind_openenv])
def test_a_grade_waits_for_its_turn_with_all_others(serve):
    turns = Turns(at_once=1, max_waiting=1)

    async def script(client):
        await answer(client, "start_episode", seed=1)
        async with turns.turn():
            grading = asyncio.create_task(answer(client, "grade"))
            early, _ = await asyncio.wait({grading}, timeout=0.1)
        return early, await grading

    early, grade = calling(script, serve(turns))

    assert early == set()
    assert grade["windows_played"] == 0


@pytest.mark.parametrize("serve", [seated, behind_openenv])
def test_a_grade_is_refused_where_too_many_wait(serve):
    turns = Turns(at_once=1, max_waiting=1)

    async def script(client):
        await answer(client, "start_episode", seed=1)
        async with turns.turn():
            waiting = asyncio.create_task(turns.turn().__aenter__())
            await asyncio.sleep(0)
            said = await refusal(client, "grade")
            waiting.cancel()
        return said

    assert "1 grades and baselines wait already; retry after 5 s" in calling(script, serve(turns))
