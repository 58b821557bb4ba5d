"""`llmserve mcp`: the environment as an MCP server over stdin and stdout, for one client."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from server.cli.conventions import ServerUrl


def mcp(url: ServerUrl = None) -> None:
    """Serve the environment as MCP tools over stdin and stdout, to the host that starts this.

    Episodes are played in this process, or on the server at --url. Nothing but the protocol is
    written to stdout; docs/mcp.md says how to tell a host about it.
    """
    from agents.tool_play import ToolPlay
    from server.cli.remote import episodes_at
    from server.graded import GradedEnvironment
    from server.mcp_seats import OneSeat, Seat
    from server.mcp_tools import serving_mcp

    with ExitStack() as opened:
        episodes = GradedEnvironment() if url is None else opened.enter_context(episodes_at(url))
        server = serving_mcp(OneSeat(Seat(episodes, ToolPlay(episodes))))
        asyncio.run(server.run_stdio_async(show_banner=False))
