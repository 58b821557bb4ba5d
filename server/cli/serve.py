"""`llmserve serve`: the server, in one process, until it is told to stop."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Annotated, Final, Literal

import typer

from llmserve_env.errors import InvalidInputError
from server.cli.conventions import AsJson, write_json
from server.settings import Settings, read_settings

# Nobody else reaches a server that is started by hand, unless that is asked for.
HOST: Final = "127.0.0.1"
PORT_RANGE: Final = range(65_536)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = HOST,
    port: Annotated[
        int | None, typer.Option(help="0 to 65535, 0 for any free one; PORT, or 7860.")
    ] = None,
    mode: Annotated[
        Literal["sim", "real"] | None,
        typer.Option(help="Simulate, or play on the server that LLMSERVE_REAL_* name."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve OpenEnv's API and the web page; Ctrl-C stops. Episodes live in this one process."""
    settings = _settings(host, port, mode)
    listener = _listener(settings.host, settings.port)
    bound = listener.getsockname()[1]
    # Here, because it builds the application, which takes seconds and reads the settings.
    from server.app import app
    from server.draining import DrainingServer

    where = {"url": f"http://{_named(settings.host)}:{bound}", "mode": settings.mode}
    announce = partial(write_json, where) if as_json else None
    DrainingServer(app, settings, app.state.live, announce).run(sockets=[listener])


def _settings(host: str, port: int | None, mode: str | None) -> Settings:
    """The environment's settings with these in their place; server.app reads the same again."""
    if port is not None and port not in PORT_RANGE:
        raise InvalidInputError(f"--port must be 0 to {PORT_RANGE[-1]}, got {port}")
    os.environ["LLMSERVE_HOST"] = host
    if port is not None:
        os.environ["PORT"] = str(port)
    if mode is not None:
        os.environ["LLMSERVE_MODE"] = mode
    try:
        return read_settings()
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens, before the application is loaded: a taken port is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidInputError(
            f"cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}"
        ) from error


def _named(host: str) -> str:
    """The host as it is reached from this machine."""
    if host in ("0.0.0.0", "::"):
        return HOST
    return f"[{host}]" if ":" in host else host
