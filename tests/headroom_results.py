"""Made-up results of scripts.measure_headroom, without playing anything."""

from agents.evaluation import EpisodeRecord
from llmserve_env.tasks import shipped_catalogue
from scripts.headroom_report import task_results
from simulator.reward import TERMS

SEEDS = (2_000_000, 2_000_001, 2_000_002, 2_000_003)
# Raw score of every agent where the traffic is neither kind nor unkind.
LEVELS = {
    "random": 0.05,
    "vllm_default": 0.3,
    "heuristic": 0.6,
    "best_constant": 0.75,
    "reactive": 0.85,
    "clairvoyant": 0.9,
}
LUCK = (-0.02, 0.0, 0.01, 0.01)
# Differs between agents, so that differences paired by seed have a standard error.
SPREAD = (0.001, -0.001, 0.001, -0.001)


def record(agent, task_id, seed, raw_score):
    return EpisodeRecord(
        agent=agent,
        task_id=task_id,
        seed=seed,
        raw_score=raw_score,
        total_reward=200.0 * raw_score,
        terms=dict.fromkeys(TERMS, 0.5),
        metrics={"cost_usd": 1.0},
    )


def records(task_id, levels):
    return [
        record(agent, task_id, seed, level + luck + (1.0 + level) * spread)
        for agent, level in levels.items()
        for seed, luck, spread in zip(SEEDS, LUCK, SPREAD, strict=True)
    ]


def results(**levels):
    """Results in which these agents reach other levels than LEVELS."""
    levels = LEVELS | levels
    catalogue = shipped_catalogue()
    return {
        "environment_version": catalogue.environment_version,
        "split": "test",
        "seeds": list(SEEDS),
        "best_constants": {
            task.task_id: task.default_action.model_dump(mode="json") for task in catalogue.tasks
        },
        "tasks": {
            task.task_id: task_results(
                records(task.task_id, levels), list(levels), windows=task.windows
            )
            for task in catalogue.tasks
        },
    }
