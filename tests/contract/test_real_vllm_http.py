"""A server in real mode on a vLLM: what it says of itself, and what it leaves behind."""

import httpx

from tests.live_server import ACTION, running_server
from tests.vllm_server import vllm_server


def test_a_server_that_is_told_to_stop_in_mid_episode_restores_vllm(tmp_path):
    with vllm_server() as behind:
        variables = {
            "LLMSERVE_MODE": "real",
            "LLMSERVE_REAL_PROVIDER": "vllm",
            "LLMSERVE_REAL_MODEL": "tiny",
            "LLMSERVE_REAL_BASE_URL": behind.openai.url,
            "LLMSERVE_REAL_CONTROL_URL": behind.control_url,
            "LLMSERVE_REAL_RATE_SCALE": "0.1",
            "LLMSERVE_REAL_LEASE_S": "600",
        }
        with (
            running_server(tmp_path / "server.log", **variables) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=120.0) as http,
        ):
            task = {"task_id": "bursty_workload", "seed": 3}
            session_id = http.post("/reset", json=task).json()["session_id"]
            body = {"action": ACTION, "session_id": session_id}
            played = http.post("/step", json=body).json()
            in_episode = behind.control.state()
        after = behind.control.state()

    assert played["metadata"]["real"]["vllm"]["in_force"]["batch_cap"] == 32
    assert in_episode["wanted"]["batch_cap"] == 32
    assert (after["is_default"], after["lease"]["last_end"]) == (True, "released")
