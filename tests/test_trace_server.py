"""Traces over HTTP: played by name, never by path."""

import httpx
import pandas as pd
import pytest

from tests.live_server import ACTION, error_of, running_server


@pytest.mark.parametrize(
    "task_id", ["trace:../../etc/passwd", "trace:/etc/passwd", "trace:a/b", "trace:"]
)
def test_a_path_is_refused(http, task_id):
    response = http.post("/reset", json={"task_id": task_id, "seed": 0})

    assert response.status_code == 422
    assert error_of(response)["code"] == "INVALID_INPUT"
    assert "never given by its path" in error_of(response)["message"]


def test_a_trace_that_is_not_there_is_an_unknown_task(http):
    response = http.post("/reset", json={"task_id": "trace:nobody-has-this", "seed": 0})

    assert response.status_code == 422
    assert error_of(response)["code"] == "UNKNOWN_TASK"


@pytest.mark.slow
def test_a_named_trace_is_listed_played_and_not_graded(tmp_path):
    times = [index * 0.5 for index in range(1_000)]
    columns = {"timestamp_s": times, "prompt_tokens": 100, "output_tokens": 10}
    pd.DataFrame(columns).to_parquet(tmp_path / "mine.parquet")
    with (
        running_server(tmp_path / "log", LLMSERVE_TRACES_DIR=str(tmp_path)) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client,
    ):
        listed = client.get("/tasks").json()["traces"]
        reset = client.post("/reset", json={"task_id": "trace:mine:ttft_ms=400", "seed": 1})
        headers = {"X-Session-ID": reset.headers["X-Session-ID"]}
        step = client.post("/step", json={"action": ACTION}, headers=headers)
        grade = client.post("/grader", json={}, headers=headers)

    assert listed == ["trace:mine"]
    assert reset.json()["observation"]["task_id"] == "trace:mine:ttft_ms=400"
    assert step.json()["observation"]["arrived_requests"] == 2
    assert error_of(grade)["code"] == "NOT_GRADED"
