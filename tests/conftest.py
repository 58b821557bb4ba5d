"""Fixtures shared by all tests. The server is started once per run, by the first that asks."""

import httpx
import pytest

from tests.live_server import running_server


@pytest.fixture(scope="session")
def server_url(tmp_path_factory):
    """The URL of a real server with the default settings."""
    log_path = tmp_path_factory.mktemp("server") / "server.log"
    with running_server(log_path) as url:
        yield url


@pytest.fixture
def http(server_url):
    """A plain HTTP client of that server; the sessions it opened are closed with it."""
    opened = set()

    def remember(response):
        opened.add(response.headers.get("X-Session-ID"))

    hooks = {"response": [remember]}
    with httpx.Client(
        base_url=server_url, trust_env=False, timeout=60.0, event_hooks=hooks
    ) as client:
        yield client
        for session_id in opened - {None}:
            client.delete(f"/sessions/{session_id}")
