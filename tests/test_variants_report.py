"""The page about the variants, from made-up results."""

import pytest

from scripts.variants_report import bracketed, page, verdict
from tests.variant_results import results


def test_a_policy_above_everywhere_is_said_to_be():
    lines = list(verdict(results(one={}, two={})))

    assert lines[0] == "- `ppo` lies above the variant's own best constant on 2 of 2."


def test_where_a_policy_fails_is_named():
    found = results(one={}, two={"ppo": -0.01}, three={"ppo": 0.0})

    line = next(iter(verdict(found)))

    assert "on 1 of 3; below it on `two`; not clearly on either side on `three`." in line


@pytest.mark.parametrize(
    "words",
    [
        "split `test`, 64 seeds per variant",
        "## made_up",
        "Best constant: batch_cap 64, quantization_tier INT8.",
        "| `made_up` | `bursty_workload` | 1.00 [0.50, 2.00] |",
        "| 25.0 % |",
        "| ppo | 0.8",
    ],
)
def test_the_page_tells_agents_and_traffic(words):
    assert words in page(results(made_up={}))


def test_the_page_ranks_the_agents():
    section = page(results(made_up={})).split("## made_up")[1]

    assert section.index("| ppo |") < section.index("| best_constant |")
    assert section.index("| best_constant |") < section.index("| vllm_default |")


def test_an_interval_stands_in_brackets():
    estimate = {"value": 0.1234, "low": -0.05, "high": 0.2}

    assert bracketed(estimate, digits=2, sign="+") == "+0.12 [-0.05, +0.20]"
