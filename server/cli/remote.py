"""Speaking to a server: its address, episodes on it, and one kind of error where none answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from llmserve_env.errors import InvalidInputError
from server.cli.conventions import UnreachableError
from server.settings import read_settings

if TYPE_CHECKING:
    from server.baseline_inference import HttpEpisodes


def address_of(url: str) -> str:
    """The server's address, with LLMSERVE_TOKEN as its password if it names none.

    Raises:
        InvalidInputError: If it is no address of a server.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidInputError(f"--url {url!r:.100}: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError(
            f"--url must be like http://127.0.0.1:7860 or https://..., got {shown(url)!r:.100}"
        )
    try:
        token = read_settings().token
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    if token is not None and not parsed.userinfo:
        parsed = parsed.copy_with(username="llmserve", password=token.get_secret_value())
    return str(parsed)


def shown(url: str) -> str:
    """The address without what may be a secret."""
    scheme, slashes, rest = url.rpartition("://")
    return scheme + slashes + rest.rpartition("@")[2]


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """A block in which a server is spoken to.

    Raises:
        UnreachableError: If it does not answer.
    """
    try:
        yield
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"no server answers at {shown(url)}: {reason}") from error


@contextmanager
def episodes_at(url: str) -> Iterator[HttpEpisodes]:
    """What plays on the running server at this address.

    Raises:
        UnreachableError: If it does not answer.
        InvalidInputError: If it is no address, the server runs another version, or it refuses.
    """
    # Here, because it loads the agents and the simulator.
    from server.baseline_inference import http_episodes

    address = address_of(url)
    with reaching(url), http_episodes(address) as episodes:
        yield episodes
