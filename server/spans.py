"""Requests and steps as spans of OpenTelemetry, sent to a collector where one is named."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from server.settings import WRONG_SETTINGS, Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE: Final = "llmserve"
# A collector that does not answer does not hold up the server's end.
FLUSH_LIMIT_MS: Final = 2_000
# What the log calls them -> what OpenTelemetry does; the rest is ours.
CONVENTIONAL: Final = {
    "client": "client.address",
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
}


class Span(Protocol):
    """Writes down what has ended."""

    def __call__(
        self, name: str, seconds: float, fields: Mapping[str, Any], parent: str | None = None, /
    ) -> None:
        """A span that took so long and ends now.

        Args:
            name: One of few: a method and a route.
            seconds: How long it took.
            fields: As in the log. No query string and no whole session id is among them.
            parent: The header `traceparent` of whoever asked.
        """


class Spans:
    """Makes spans of what has ended; a thread of OpenTelemetry's own sends them."""

    def __init__(self, provider: TracerProvider) -> None:
        """Take where spans go."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._kind = provider, SpanKind.SERVER
        self._tracer = provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    def span(
        self, name: str, seconds: float, fields: Mapping[str, Any], parent: str | None = None, /
    ) -> None:
        """See Span."""
        end_ns = time.time_ns()
        span = self._tracer.start_span(
            name,
            None if parent is None else self._propagator.extract({"traceparent": parent}),
            self._kind,
            {CONVENTIONAL.get(key, f"{SERVICE}.{key}"): value for key, value in fields.items()},
            start_time=end_ns - round(1e9 * seconds),
        )
        span.end(end_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.force_flush(FLUSH_LIMIT_MS)
        self._provider.shutdown()


def spans_or_exit(settings: Settings) -> Spans | None:
    """As `open_spans`; if they cannot be had, a line says so and the process ends with status 2."""
    try:
        return open_spans(settings)
    except ValueError as error:
        sys.stderr.write(f"server: {error}\n")
        raise SystemExit(WRONG_SETTINGS) from None


def open_spans(settings: Settings) -> Spans | None:
    """Spans to the collector of the settings, over OTLP/HTTP; None where none is named.

    OpenTelemetry itself reads its other variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME,
    OTEL_TRACES_SAMPLER and so on).

    Raises:
        ValueError: If a collector is named and the extra `otel` is not installed.
    """
    if settings.otel_endpoint is None:
        return None
    # Here, because it needs the extra.
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ValueError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, which needs the extra `otel` "
            f"(pip install 'openenv-llmserve-env[otel]'): {error}"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    endpoint = f"{settings.otel_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return Spans(provider)
