"""What the server counts, in the form of Prometheus; whoever does a thing counts it."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
STEP_SECONDS_BUCKETS: Final = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 0.1, 1.0, 10.0)
SCORES: Final = tuple(tenth / 10 for tenth in range(1, 11))

# Twice the lines, for nothing that a dashboard shows.
disable_created_metrics()  # type: ignore[no-untyped-call]

SESSIONS: Final = Gauge(
    "llmserve_sessions",
    "Episodes held over HTTP and over MCP, and sockets open on /ws.",
    ["transport"],
)
SESSION_LIMIT: Final = Gauge("llmserve_session_limit", "The most there may be of each.")
SESSIONS_CLOSED: Final = Counter(
    "llmserve_sessions_closed_total",
    "Sessions over HTTP that ended: expired, evicted after their episode's end, or closed.",
    ["reason"],
)
SOCKETS_CLOSED: Final = Counter(
    "llmserve_sockets_closed_total", "Sockets on /ws that ended, by who ended them.", ["reason"]
)
EPISODES: Final = Counter("llmserve_episodes_total", "Episodes started.", ["task"])
STEP_SECONDS: Final = Histogram(
    "llmserve_step_seconds",
    "What a window takes in the engine, without the protocol; the count is that of all windows.",
    ["task"],
    buckets=STEP_SECONDS_BUCKETS,
)
GRADES: Final = Histogram(
    "llmserve_grade_score",
    "Scores of finished episodes whose grade was asked for.",
    ["task"],
    buckets=SCORES,
)
REQUESTS: Final = Counter(
    "llmserve_http_requests_total", "Requests over HTTP.", ["route", "method", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "llmserve_http_request_seconds", "What a request takes.", ["route"], buckets=SECONDS
)
MESSAGES: Final = Counter("llmserve_socket_messages_total", "Messages answered on /ws.", ["type"])
ERRORS: Final = Counter(
    "llmserve_errors_total", "Errors answered, over HTTP and on /ws, by code.", ["code"]
)
JOBS: Final = Gauge("llmserve_jobs", "Grades and baselines, running or waiting.", ["state"])
