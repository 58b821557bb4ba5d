"""GET /metrics, and that the example dashboard asks for what is there."""

import json
import re
from pathlib import Path

import httpx
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

import server.metrics  # noqa: F401  # registers what the server counts
from tests.live_server import ACTION

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana_dashboard.json"
# Every name with its label, as a query writes it.
QUERIED = re.compile(r"\b((?:llmserve|process)_\w+)")


def samples(http):
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_is_played_is_counted(http):
    before = samples(http)
    http.post("/reset", json={"task_id": "bursty_workload", "seed": 1})
    http.post("/step", json={"action": ACTION})
    http.post("/step", json={"action": {}})

    after = samples(http)

    def more(name, **labels):
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert more("llmserve_episodes_total", task="bursty_workload") == 1
    assert more("llmserve_step_seconds_count", task="bursty_workload") == 1
    assert more("llmserve_http_requests_total", route="/step", method="POST", status="200") == 1
    assert more("llmserve_http_requests_total", route="/step", method="POST", status="422") == 1
    assert more("llmserve_errors_total", code="INVALID_INPUT") == 1
    assert after["llmserve_sessions", (("transport", "http"),)] >= 1


def test_paths_with_names_in_them_are_counted_as_one(http):
    for name in ("a", "b", "c"):
        http.delete(f"/sessions/{name}")
        http.get(f"/nothing/{name}")

    text = http.get("/metrics").text

    assert 'route="/sessions/{session_id}"' in text
    assert "/nothing/" not in text


def test_every_answer_carries_an_id_of_its_own_or_the_one_that_was_sent(http):
    own = http.get("/health").headers["X-Request-ID"]
    sent = http.get("/health", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"]
    forged = http.get("/health", headers={"X-Request-ID": "a b"}).headers["X-Request-ID"]

    assert len(own) == 32
    assert sent == "abc-1"
    assert len(forged) == 32


def test_the_dashboard_asks_for_metrics_that_there_are(server_url):
    content = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in content["panels"] for target in panel["targets"]]

    asked = {name for query in queries for name in QUERIED.findall(query)}

    known = {name for family in REGISTRY.collect() for name in _names_of(family)}
    served = httpx.get(f"{server_url}/metrics", trust_env=False).text
    assert len(queries) >= 10
    assert sorted(asked - known) == []
    assert all(re.search(rf"^# TYPE {_family_of(name)} ", served, re.MULTILINE) for name in asked)


def _names_of(family):
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
    return [family.name + suffix for suffix in suffixes.get(family.type, [""])]


def _family_of(name):
    return re.sub(r"_(bucket|count|sum)$", "", name)
