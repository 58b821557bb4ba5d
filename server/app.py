"""The server: OpenEnv's application with session-aware routes in place of its stateless ones."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from openenv.core.env_server.http_server import create_app as create_openenv_app
from openenv.core.env_server.types import ConcurrencyConfig

from grader.references import shipped_references
from llmserve_env.tasks import shipped_catalogue
from server.baseline_routes import baseline_router
from server.baselines import Baselines
from server.body_limit import BodyLimit
from server.docs_routes import ASSETS_PATH, docs_assets, docs_router
from server.errors import register_error_handlers
from server.graded import GradedEnvironment
from server.grader_routes import grader_router
from server.info_routes import info_router
from server.llm_baseline import LlmBaseline
from server.openenv_adapter import (
    DESCRIPTION,
    ENVIRONMENT_NAME,
    OpenEnvServing,
    WireAction,
    WireObservation,
    WireState,
)
from server.play_routes import play_router
from server.sessions import SessionStore
from server.settings import Settings, publish_for_openenv, read_settings
from server.socket_guard import LiveSockets, SocketGuard
from simulator.warm_up import warm_up

# The server's own logger: it is set up before the application is imported.
logger = logging.getLogger("uvicorn.error")

TITLE = "LLMServeEnv"
# OpenEnv registers these first, and the first match wins: they have to go.
REPLACED_PATHS = {"/reset", "/step", "/state", "/health", "/schema", "/docs", "/redoc"}
# One episode shared by every visitor, which OpenEnv's own page does not use.
DROPPED_PATHS = {"/web/reset", "/web/step", "/web/state"}
SHUTDOWN_GRACE_S = 5


def create_app(settings: Settings) -> FastAPI:
    """The application, its kernel compiled and every route in place."""
    logger.info("Loading the engine; the first start compiles it, which takes up to a minute")
    warm_up()
    make_environment, real = _played_on(settings)
    app = _openenv_app(settings, make_environment)
    app.title, app.description = TITLE, DESCRIPTION
    app.contact, app.license_info = None, {"name": "MIT", "identifier": "MIT"}
    unwanted = REPLACED_PATHS | DROPPED_PATHS
    app.router.routes[:] = [
        route for route in app.router.routes if getattr(route, "path", None) not in unwanted
    ]
    store = SessionStore(limit=settings.max_sessions, ttl_s=settings.session_ttl_s)
    live = LiveSockets()
    app.include_router(play_router(store, make_environment))
    app.include_router(grader_router(store))
    app.include_router(
        info_router(
            shipped_catalogue(),
            settings,
            references=shipped_references(),
            count_sessions=lambda: len(store),
            count_sockets=lambda: live.count,
            real=real,
        )
    )
    app.include_router(baseline_router(Baselines(), LlmBaseline(settings)))
    app.include_router(docs_router(TITLE))
    app.mount(ASSETS_PATH, docs_assets())
    register_error_handlers(app, retry_after_s=store.retry_after_s)
    app.add_middleware(SocketGuard, limit_bytes=settings.max_body_bytes, live=live)
    app.add_middleware(BodyLimit, limit_bytes=settings.max_body_bytes)
    return app


def _played_on(
    settings: Settings,
) -> tuple[Callable[[], GradedEnvironment], dict[str, Any] | None]:
    """What makes the environments that are played in, and what /info says of a real server."""
    if settings.mode == "sim":
        return GradedEnvironment, None
    # Here, because it needs the extra `openai`.
    from server.real_play import open_real_server

    return open_real_server(settings, shipped_catalogue())


def _openenv_app(settings: Settings, make_environment: Callable[[], GradedEnvironment]) -> FastAPI:
    publish_for_openenv(settings)
    # openenv-core 0.3.0 knows neither; /schema is ours, so only the page's title is lost.
    known = inspect.signature(create_openenv_app).parameters
    wanted: dict[str, Any] = {"state_cls": WireState, "title_override": TITLE}
    version_options = {name: value for name, value in wanted.items() if name in known}
    return create_openenv_app(
        # The class itself where it needs no argument: OpenEnv then makes none to look at it.
        OpenEnvServing if settings.mode == "sim" else partial(OpenEnvServing, make_environment),
        WireAction,
        WireObservation,
        env_name=ENVIRONMENT_NAME,
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=settings.max_sessions, session_timeout=settings.session_ttl_s
        ),
        **version_options,
    )


def main() -> None:
    """Serve until told to stop."""
    settings = read_settings()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )


app = create_app(read_settings())

if __name__ == "__main__":
    main()
