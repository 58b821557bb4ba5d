"""The routes that tell about the server, over a real socket."""

import re

import pytest


def test_health_counts_sessions_and_time(http):
    http.post("/reset", json={"seed": 42})

    health = http.get("/health").json()

    assert health["status"] == "healthy"
    assert health["active_sessions"] >= 1
    assert health["uptime_s"] > 0.0


def test_metadata_names_and_describes_the_environment(http):
    metadata = http.get("/metadata").json()

    assert metadata["name"] == "llmserve_env"
    assert "serving" in metadata["description"]


def test_schema_carries_the_bounds_of_the_models(http):
    schema = http.get("/schema").json()

    assert set(schema) == {"action", "observation", "state"}
    assert schema["action"]["properties"]["batch_cap"]["maximum"] == 512
    assert "total_reward" in schema["state"]["properties"]


def test_tasks_describe_knobs_objectives_and_traffic(http):
    tasks = {task["id"]: task for task in http.get("/tasks").json()["tasks"]}

    assert list(tasks) == ["static_workload", "bursty_workload", "adversarial_multitenant"]
    static = tasks["static_workload"]
    assert static["difficulty"] == "easy"
    assert static["active_actions"] == ["batch_cap", "kv_budget_fraction"]
    assert static["knobs"]["batch_cap"] == "hot"
    assert static["knobs"]["quantization_tier"] == "fixed"
    assert static["windows"] == 200
    assert static["default_action"]["quantization_tier"] == "FP16"
    assert len(static["slo"]["ttft_ms"]) == 3
    assert static["workload"]["streams"][0]["arrivals"]["family"] == "poisson"


def test_tasks_list_the_variants_apart_and_marked(http):
    body = http.get("/tasks").json()
    variants = {task["id"]: task for task in body["variants"]}

    azure = variants["bursty_azure_code"]
    bursty = next(task for task in body["tasks"] if task["id"] == "bursty_workload")
    assert azure["variant_of"] == "bursty_workload"
    assert azure["workload"]["streams"][0]["preset"] == "azure_code_2023"
    assert azure["deployment"] == bursty["deployment"]
    assert azure["knobs"] == bursty["knobs"]
    assert "anchors" not in azure
    assert not any("variant_of" in task for task in body["tasks"])


def test_info_holds_schemas_rewards_units_and_limits(http):
    info = http.get("/info").json()

    assert info["schemas"]["action"]["properties"]["speculation_depth"]["maximum"] == 8
    assert info["reward_weights"]["static_workload"]["throughput"] > 0.0
    assert info["reward_weights"]["bursty_azure_code"] == info["reward_weights"]["bursty_workload"]
    assert info["units"]["_ms"] == "milliseconds"
    assert info["limits"] == {
        "max_sessions": 64,
        "session_ttl_s": 900.0,
        "max_body_bytes": 1_048_576,
    }


def test_demo_leads_to_the_web_interface(http):
    response = http.get("/demo", follow_redirects=True)

    assert response.url.path == "/web/"
    assert response.status_code == 200
    assert "text/html" in response.headers["content-type"]


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_api_pages_need_nothing_from_outside(http, page):
    html = http.get(page).text

    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert "://" not in html
    assert sources
    assert {http.get(source).status_code for source in sources} == {200}


def test_openapi_describes_every_route_once(http):
    document = http.get("/openapi.json").json()

    assert document["info"]["version"].startswith("1.")
    assert {"/reset", "/step", "/state", "/health", "/tasks", "/info"} <= set(document["paths"])
    action = document["paths"]["/step"]["post"]["requestBody"]["content"]["application/json"]
    assert action["schema"]["properties"]["action"]["properties"]["batch_cap"]["maximum"] == 512


def test_profiles_tell_tiers_and_how_far_to_trust_each(http):
    listed = {each["name"]: each for each in http.get("/profiles").json()["profiles"]}
    info = http.get("/info").json()["profiles"]

    assert listed["h200-llama3-8b"]["tiers_not_offered"] == ["INT4"]
    assert info["h200-llama3-8b"]["tiers"] == ["FP16", "INT8"]
    assert "no end-to-end runs" in info["a100-llama3-8b"]["fidelity"]


def test_a_profile_has_its_card_and_an_unknown_one_is_refused(http):
    card = http.get("/profiles/h100-llama3-8b").json()["card"]
    unknown = http.get("/profiles/tpu")

    assert card["metrics"][0]["n"] == 42
    assert card["metrics"][0]["gate"] == 0.04
    assert unknown.status_code == 422
    assert "known profiles" in unknown.text
