"""Agents play on real servers, where nobody may tell what is in use."""

import pytest

from agents.registry import make_agent
from llmserve_env.models import RealObservation
from llmserve_env.tasks import shipped_catalogue
from tests.agent_views import seen

UNTOLD = (
    "kv_cache_occupancy",
    "gpu_memory_used_gb",
    "gpu_memory_reserved_gb",
    "gpu_busy_fraction",
    "estimated_cost_per_1k",
    "cost_so_far",
    "eviction_events",
    "spec_acceptance_rate",
)


@pytest.mark.parametrize(
    "name", ["heuristic", "aimd", "dynamic_sd", "reactive", "kv_rule", "ppo", "ppo_generalist"]
)
def test_an_agent_acts_where_memory_and_kv_are_unknown(name):
    task = shipped_catalogue().get("bursty_workload")
    agent = make_agent(name)
    agent.reset(task, 0)
    told = dict(seen(queue_depth=3, active_requests=5)) | {"config": task.default_action}
    untold = RealObservation.model_validate(told | dict.fromkeys(UNTOLD))

    actions = [agent.act(untold) for _ in range(4)]

    for action in actions:
        task.check_action(action)
