"""The server: OpenEnv's application with session-aware routes in place of its stateless ones."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from openenv.core.env_server.http_server import create_app as create_openenv_app
from openenv.core.env_server.types import ConcurrencyConfig

from grader.references import shipped_references
from llmserve_env.tasks import shipped_catalogue
from server.baseline_routes import baseline_router
from server.baselines import Baselines
from server.docs_routes import ASSETS_PATH, docs_assets, docs_router
from server.draining import DrainingServer, watch_sockets
from server.errors import register_error_handlers
from server.graded import GradedEnvironment
from server.grader_routes import grader_router
from server.info_routes import info_router
from server.jobs import Turns
from server.live_sockets import LiveSockets
from server.llm_baseline import LlmBaseline
from server.logs import configure_logs
from server.mcp_limits import RpcSessions
from server.mcp_mount import mount_mcp
from server.metrics_route import metrics_router
from server.middleware import add_middleware
from server.openenv_adapter import (
    DESCRIPTION,
    ENVIRONMENT_NAME,
    OpenEnvServing,
    WireAction,
    WireObservation,
    WireState,
    described,
)
from server.play_routes import play_router
from server.profile_routes import profile_router
from server.sessions import SessionStore
from server.settings import (
    Settings,
    publish_for_openenv,
    settings_or_exit,
    use_folders_of,
    without_page_where_nothing_can_be_written,
)
from server.settled_heap import settle_heap
from server.shutdown import close_at_shutdown
from server.spans import spans_or_exit
from server.web.downloads import Downloads, download_router
from server.web.own_traces import OwnTraces
from server.web.page import TAB_NAME, PageBuilder
from server.web.stock_page import describe_on_the_stock_page
from simulator.warm_up import warm_up

if TYPE_CHECKING:
    from server.real_play import RealServer

# The server's own logger: it is set up before the application is imported.
logger = logging.getLogger("uvicorn.error")

TITLE = "LLMServeEnv"
# OpenEnv registers these first, and the first match wins: they have to go.
REPLACED_PATHS = {"/reset", "/step", "/state", "/health", "/schema", "/docs", "/redoc"}
# One episode shared by every visitor, which OpenEnv's own page does not use.
DROPPED_PATHS = {"/web/reset", "/web/step", "/web/state"}
# Grading takes some of the interpreter's time, which everybody else waits for.
GRADES_AT_ONCE = 2


def create_app(settings: Settings) -> FastAPI:
    """The application, its kernel compiled and every route in place."""
    configure_logs(settings)
    settings = without_page_where_nothing_can_be_written(settings)
    use_folders_of(settings)
    logger.info("Loading the engine; the first start compiles it, which takes up to a minute")
    warm_up()
    real = _real_server(settings)
    make_environment = GradedEnvironment if real is None else real.make_environment
    downloads, traces = Downloads(), OwnTraces()
    turns = Turns(at_once=GRADES_AT_ONCE, max_waiting=settings.max_waiting_jobs)
    make_serving = partial(OpenEnvServing, make_environment, turns)
    app = _openenv_app(settings, make_serving, PageBuilder(downloads, traces))
    close_at_shutdown(app, traces.close)
    app.title, app.description = TITLE, DESCRIPTION
    app.contact, app.license_info = None, {"name": "MIT", "identifier": "MIT"}
    unwanted = REPLACED_PATHS | DROPPED_PATHS
    app.router.routes[:] = [
        route for route in app.router.routes if getattr(route, "path", None) not in unwanted
    ]
    store = SessionStore(
        limit=settings.max_sessions,
        ttl_s=settings.session_ttl_s,
        limit_per_owner=settings.max_sessions_per_client,
    )
    live = app.state.live = LiveSockets(
        limit_per_client=settings.max_sessions_per_client, ttl_s=settings.session_ttl_s
    )
    watch_sockets(app, live)
    rpc_sessions = RpcSessions(live, ttl_s=settings.session_ttl_s)
    mcp_store = mount_mcp(app, settings, make_environment, turns)
    count_sessions, count_sockets = partial(len, store), partial(getattr, live, "count")
    counts: dict[str, Callable[[], int]] = {"http": count_sessions, "ws": count_sockets}
    counts["mcp"] = lambda: len(mcp_store) + len(rpc_sessions)
    app.include_router(metrics_router(limit=settings.max_sessions, counts=counts))
    _include_first(app, play_router(store, make_environment))
    app.include_router(grader_router(store, turns))
    app.include_router(
        info_router(
            shipped_catalogue(),
            settings,
            references=shipped_references(),
            count_sessions=count_sessions,
            count_sockets=count_sockets,
            real=None if real is None else real.facts,
        )
    )
    app.include_router(profile_router())
    baselines = Baselines(
        limit_s=settings.baseline_timeout_s, max_waiting=settings.max_waiting_jobs
    )
    app.include_router(baseline_router(baselines, LlmBaseline(settings)))
    app.include_router(docs_router(TITLE))
    app.include_router(download_router(downloads))
    app.mount(ASSETS_PATH, docs_assets())
    register_error_handlers(app, retry_after_s=store.retry_after_s)
    _add_layers(app, settings, live, rpc_sessions)
    settle_heap(app)
    if real is not None:
        close_at_shutdown(app, real.close)
    return app


def _add_layers(
    app: FastAPI, settings: Settings, live: LiveSockets, rpc_sessions: RpcSessions
) -> None:
    """Put the middleware around the application, which makes spans if anybody wants them."""
    spans = spans_or_exit(settings)
    add_middleware(app, settings, live, rpc_sessions, None if spans is None else spans.span)
    if spans is not None:
        close_at_shutdown(app, spans.close)


def _include_first(app: FastAPI, router: APIRouter) -> None:
    """Include routes that are looked at before all others: they are asked for most."""
    before = len(app.router.routes)
    app.include_router(router)
    app.router.routes[:] = app.router.routes[before:] + app.router.routes[:before]


def _real_server(settings: Settings) -> RealServer | None:
    """The real server that is played on, if one is."""
    if settings.mode == "sim":
        return None
    # Here, because it needs the extra `openai`.
    from server.real_play import open_real_server

    return open_real_server(settings, shipped_catalogue())


def _openenv_app(
    settings: Settings, make_serving: Callable[[], OpenEnvServing], page: PageBuilder
) -> FastAPI:
    publish_for_openenv(settings)
    example = shipped_catalogue().tasks[0].default_action
    describe_on_the_stock_page(described(), example, settings.port)
    # openenv-core 0.3.0 knows neither; /schema is ours, so only the page's title is lost.
    known = inspect.signature(create_openenv_app).parameters
    wanted: dict[str, Any] = {"state_cls": WireState, "title_override": TITLE}
    version_options = {name: value for name, value in wanted.items() if name in known}
    return create_openenv_app(
        make_serving,
        WireAction,
        WireObservation,
        env_name=ENVIRONMENT_NAME,
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=settings.max_sessions, session_timeout=settings.session_ttl_s
        ),
        gradio_builder=page,
        custom_tab_name=TAB_NAME,
        custom_tab_primary=True,
        **version_options,
    )


def main() -> None:
    """Serve until told to stop."""
    DrainingServer(app, settings_or_exit(), app.state.live).run()


app = create_app(settings_or_exit())

if __name__ == "__main__":
    main()
