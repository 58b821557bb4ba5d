"""Made-up results of scripts.measure_variants and of evaluate.py, without playing anything."""

from dataclasses import asdict

from agents.statistics import mean, paired_difference
from llmserve_env.tasks import shipped_catalogue
from scripts.variants_report import DESCRIPTIONS, TRAFFIC

SEEDS = list(range(2_000_000, 2_000_064))
LUCK = [0.01 * (seed % 3 - 1) for seed in SEEDS]
# Differences to the variant's own best constant.
LEVELS = {
    "best_constant": 0.0,
    "task_constant": -0.1,
    "vllm_default": -0.3,
    "heuristic": -0.2,
    "reactive": 0.05,
    "kv_rule": 0.06,
    "ppo": 0.1,
    "ppo_generalist": 0.08,
}


def variant(levels):
    raw = {
        name: [0.7 + level * (1.0 + luck) + luck for luck in LUCK] for name, level in levels.items()
    }
    return {
        "variant_of": "bursty_workload",
        "name": "Made up",
        "description": "Traffic of nobody.",
        "best_constant": {"batch_cap": 64, "quantization_tier": "INT8"},
        "traffic": {key: [1.0, 0.5, 2.0] for key in TRAFFIC},
        "rejected_fraction": 0.25,
        "agents": {
            name: {
                "raw_scores": scores,
                "raw_mean": asdict(mean(scores)),
                "to_best_constant": asdict(paired_difference(scores, raw["best_constant"])),
            }
            for name, scores in raw.items()
        },
    }


def results(**variants):
    """Results with one variant per keyword; its value replaces some of LEVELS."""
    found = {name: variant(LEVELS | levels) for name, levels in variants.items()}
    assert set(LEVELS) == set(DESCRIPTIONS)
    return {
        "environment_version": shipped_catalogue().environment_version,
        "split": "test",
        "seeds": SEEDS,
        "variants": found,
    }


def scores(value=0.75):
    """What evaluate.py writes of two agents on two tasks."""
    estimate = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {
        "environment_version": shipped_catalogue().environment_version,
        "split": "test",
        "seeds": SEEDS,
        "agents": ["heuristic", "ppo"],
        "summaries": [
            {"task_id": task_id, "agent": agent, "score": estimate}
            for task_id in ("static_workload", "bursty_workload")
            for agent in ("heuristic", "ppo")
        ],
    }
