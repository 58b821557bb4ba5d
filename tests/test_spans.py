"""Spans, as a collector of OpenTelemetry receives them over HTTP."""

import gzip
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from websockets.sync.client import connect

from server.settings import Settings
from server.spans import open_spans
from tests.live_server import ACTION, ROOT, running_server

TRACE = "0af7651916cd43dd8448eb211c80319c"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def collector():
    """The URL of a collector, and the spans that it was sent."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = values(resource.resource)["service.name"]
                for scope in resource.scope_spans:
                    spans.extend((service, span) for span in scope.spans)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


def values(holder):
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes
    }


def test_nobody_who_names_no_collector_needs_the_extra():
    assert open_spans(Settings()) is None


def played_by_all_ways(server):
    """Play a window over HTTP and one on a socket; the session over HTTP."""
    with httpx.Client(base_url=server, trust_env=False, timeout=60) as http:
        session = http.post("/reset", json={"seed": 1}).json()["session_id"]
        headers = {"X-Request-ID": "mine", "traceparent": f"00-{TRACE}-{'1' * 16}-01"}
        body = {"action": ACTION, "session_id": session}
        http.post("/step?a=secret", json=body, headers=headers)
        http.delete(f"/sessions/{session}")
    with connect(server.replace("http", "ws") + "/ws", proxy=None) as socket:
        for kind, data in (("reset", {"seed": 2}), ("step", ACTION)):
            socket.send(json.dumps({"type": kind, "data": data}))
            socket.recv(timeout=60)
    return session


@pytest.mark.needs_otel
def test_requests_and_steps_are_spans_with_session_task_step_and_request(tmp_path):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    log = tmp_path / "log"
    with (
        collector() as (url, spans),
        running_server(log, ENABLE_WEB_INTERFACE="false", **{ENDPOINT: url}) as server,
    ):
        session = played_by_all_ways(server)

    by_name = {}
    for service, span in spans:
        assert service == "llmserve"
        by_name.setdefault(span.name, []).append(span)
    assert list(by_name) == ["POST /reset", "POST /step", "DELETE /sessions/{session_id}", "WS /ws"]
    (step,) = by_name["POST /step"]
    told = values(step)
    assert told["llmserve.request_id"] == "mine"
    assert told["llmserve.session"] == session[:8]
    assert (told["llmserve.task"], told["llmserve.step"]) == ("static_workload", 1)
    assert told["http.response.status_code"] == 200
    assert step.trace_id.hex() == TRACE
    assert step.end_time_unix_nano > step.start_time_unix_nano
    assert [values(span)["llmserve.step"] for span in by_name["WS /ws"]] == [0, 1]
    assert session not in str(spans)
    assert "secret" not in str(spans)
    assert session not in log.read_text()


@pytest.mark.needs_otel
def test_a_collector_that_does_not_answer_holds_up_nothing(tmp_path):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    nobody = "http://127.0.0.1:1"
    with running_server(
        tmp_path / "log", ENABLE_WEB_INTERFACE="false", **{ENDPOINT: nobody}
    ) as url:
        answer = httpx.post(f"{url}/reset", json={"seed": 1}, trust_env=False, timeout=60)

    assert answer.status_code == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_without_the_extra_a_line_says_what_is_missing():
    program = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None\n"
        "from server.settings import Settings\nfrom server.spans import spans_or_exit\n"
        "spans_or_exit(Settings(otel_endpoint='http://127.0.0.1:4318'))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith("server: OTEL_EXPORTER_OTLP_ENDPOINT is set, which needs")
    assert ended.stderr.count("\n") == 1
