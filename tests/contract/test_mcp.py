"""MCP by fastmcp's own client: at /mcp-server, over stdin and stdout, and OpenEnv's own /mcp."""

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError
from websockets.sync.client import connect

from tests.live_server import ACTION

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {"list_tasks", "start_episode", "apply_config", "observe", "forecast", "grade"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def tool(client, name, **arguments):
    return (await client.call_tool(name, arguments)).structured_content


async def whole_episode(client):
    """The grade of an episode that begins with a call that is refused."""
    with pytest.raises(ToolError, match="call start_episode first"):
        await tool(client, "grade")
    await tool(client, "start_episode", task_id="bursty_workload", seed=7)
    with pytest.raises(ToolError, match=r"integer from 1 to 512.*got 0"):
        await tool(client, "apply_config", batch_cap=0)
    played = await tool(client, "apply_config", batch_cap=200, kv_budget_fraction=0.7)
    while not played["done"]:
        played = await tool(client, "apply_config", hold_windows=50)
    return await tool(client, "grade")


def test_an_episode_is_played_over_http_to_its_grade(server_url):
    async def script():
        async with Client(f"{server_url}/mcp-server") as client:
            tools = await client.list_tools()
            return client.initialize_result, tools, await whole_episode(client)

    greeting, tools, grade = asyncio.run(script())

    assert greeting.serverInfo.name == "llmserve"
    assert "start_episode" in greeting.instructions
    assert {each.name for each in tools} == TOOLS
    assert grade["is_complete"]
    assert grade["seed"] == 7


def test_two_clients_over_http_do_not_see_each_others_episode(server_url):
    async def script():
        url = f"{server_url}/mcp-server"
        async with Client(url) as first, Client(url) as second:
            await tool(first, "start_episode", task_id="static_workload", seed=1)
            with pytest.raises(ToolError, match="no episode is running"):
                await tool(second, "observe")
            await tool(second, "start_episode", task_id="bursty_workload", seed=2)
            await asyncio.gather(
                *[tool(first, "apply_config", batch_cap=11) for _ in range(4)],
                *[tool(second, "apply_config", batch_cap=22) for _ in range(2)],
            )
            return await tool(first, "observe"), await tool(second, "observe")

    first, second = (seen["observation"] for seen in asyncio.run(script()))

    assert (first["task_id"], first["step_index"]) == ("static_workload", 4)
    assert (second["task_id"], second["step_index"]) == ("bursty_workload", 2)
    assert first["config"]["batch_cap"] == 11
    assert second["config"]["batch_cap"] == 22


@pytest.mark.slow
def test_a_client_that_ends_its_session_leaves_no_place_taken(server_url):
    async def script():
        for seed in range(70):  # more than there are places
            async with Client(f"{server_url}/mcp-server") as client:
                await tool(client, "start_episode", seed=seed)

    asyncio.run(script())


def test_plain_clients_are_not_disturbed_by_an_mcp_episode(server_url, http):
    session_id = http.post("/reset", json={"seed": 5}).json()["session_id"]

    async def script():
        async with Client(f"{server_url}/mcp-server") as client:
            await tool(client, "start_episode", seed=6)

    asyncio.run(script())

    # Without a session_id the most recent plain session is meant.
    assert http.post("/step", json={"action": ACTION}).json()["session_id"] == session_id


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 421)],
)
def test_pages_of_other_origins_cannot_reach_a_server_on_this_machine(http, headers, status):
    answer = http.post("/mcp-server", json=INITIALIZE, headers=ACCEPT | headers)

    assert answer.status_code == status
    session = answer.headers.get("mcp-session-id")
    if session is not None:
        http.delete("/mcp-server", headers=ACCEPT | {"mcp-session-id": session})


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"x" * 1_100_000, {}, 413),
        (json.dumps(INITIALIZE | {"method": "tools/list"}), {}, 400),
        (json.dumps(INITIALIZE), {"mcp-session-id": "nobody"}, 404),
        (json.dumps(INITIALIZE), {"Accept": "text/html"}, 406),
    ],
)
def test_what_is_no_mcp_is_refused_with_a_status(http, content, headers, status):
    sent = ACCEPT | {"Content-Type": "application/json"} | headers

    answer = http.post("/mcp-server", content=content, headers=sent)

    assert answer.status_code == status
    assert "Traceback" not in answer.text


def rpc(http, method, **params):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return http.post("/mcp", json=body).json()


def test_openenvs_own_endpoint_lists_and_calls_the_tools_within_a_session(http):
    tools = rpc(http, "tools/list")["result"]["tools"]
    session = rpc(http, "openenv/session/create")["result"]

    rpc(http, "tools/call", name="start_episode", arguments={"seed": 4}, **session)
    call = {"name": "apply_config", "arguments": {"batch_cap": 9, "hold_windows": 2}}
    played = rpc(http, "tools/call", **call, **session)["result"]
    call = {"name": "apply_config", "arguments": {"batch_cap": 0}}
    refused = rpc(http, "tools/call", **call, **session)["error"]
    closed = rpc(http, "openenv/session/close", **session)["result"]

    assert {each["name"] for each in tools} == TOOLS
    assert json.loads(played["content"][0]["text"])["windows_played"] == 2
    assert "integer from 1 to 512" in refused["message"]
    assert "\n" not in refused["message"]
    assert closed["closed"]


def test_tools_and_steps_of_one_socket_play_the_same_episode(server_url):
    def ask(socket, message):
        socket.send(json.dumps(message))
        return json.loads(socket.recv(timeout=60))["data"]

    def call(name, **arguments):
        params = {"name": name, "arguments": arguments}
        return {
            "type": "mcp",
            "data": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        }

    with connect(server_url.replace("http", "ws") + "/ws", proxy=None) as socket:
        ask(socket, {"type": "reset", "data": {"task_id": "static_workload", "seed": 1}})
        ask(socket, {"type": "step", "data": ACTION})
        seen = ask(socket, call("forecast"))["result"]
        ask(socket, call("apply_config", hold_windows=3))
        state = ask(socket, {"type": "state"})

    assert json.loads(seen["content"][0]["text"])["windows_seen"] == 1
    assert state["step_count"] >= 3
    assert state["config"]["batch_cap"] == ACTION["batch_cap"]


def stdio(*options):
    command = ["-m", "server.cli.main", "mcp", *options]
    return StdioTransport(sys.executable, command, env=dict(os.environ), cwd=str(ROOT))


@pytest.mark.slow
def test_an_episode_is_played_over_stdin_and_stdout_to_its_grade():
    async def script():
        async with Client(stdio()) as client:
            return {each.name for each in await client.list_tools()}, await whole_episode(client)

    tools, grade = asyncio.run(script())

    assert tools == TOOLS
    assert grade["is_complete"]


@pytest.mark.slow
def test_over_stdin_and_stdout_an_episode_is_played_on_a_running_server(server_url):
    async def script():
        async with Client(stdio("--url", server_url)) as client:
            grade = await whole_episode(client)
            return grade, httpx.get(f"{server_url}/health", trust_env=False).json()

    grade, health = asyncio.run(script())

    assert grade["is_complete"]
    assert grade["seed"] == 7
    assert health["active_sessions"] >= 1
