"""Runs what has to be put back when an application shuts down, beside what it does itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI


def close_at_shutdown(app: FastAPI, close: Callable[[], None]) -> None:
    """Call `close`, in a thread, after the application's last answer and before its own end."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[Any]:
        async with inner(running) as state:
            try:
                yield state
            finally:
                await asyncio.to_thread(close)

    app.router.lifespan_context = lifespan
