"""What the grader says in plain language."""

from grader.feedback import HELD_BY, TERM_WORDS, feedback
from grader.scoring import Tally
from llmserve_env.models import BINDING_CONSTRAINTS
from simulator.outcome import GAIN_TERMS, PENALTY_TERMS
from tests.builders import task

TERMS = GAIN_TERMS + PENALTY_TERMS
CALM = {
    "slo_compliance_rate": 1.0,
    "slo_sample_count": 5,
    "overdue_requests": 0,
    "binding_constraint": "none",
    "eviction_events": 0,
    "dropped_requests": 0,
    "switch_remaining_s": 0.0,
    "gpu_memory_reserved_gb": 30.0,
    "gpu_memory_used_gb": 20.0,
}


def tally(raw_score=0.5, **contributions):
    return Tally(raw_score, dict.fromkeys(TERMS, 0.0), dict.fromkeys(TERMS, 0.0) | contributions)


def said(windows, own=None, best=None, **changes):
    spec = task(windows=len(windows) or 3, **changes)
    return " ".join(feedback(spec, windows, own or tally(), best or tally()))


def test_every_term_and_every_constraint_has_its_words():
    assert tuple(TERM_WORDS) == TERMS
    assert set(HELD_BY) == set(BINDING_CONSTRAINTS)


def test_a_faultless_episode_is_told_so():
    text = said([CALM, CALM])

    assert "As good as the best constant setting on this traffic: 0.500." in text
    assert "Every request that was decided met its objectives." in text
    assert "Of 40 GB granted, 30.0 GB were reserved and 20.0 GB used." in text


def test_the_terms_that_lost_and_won_most_are_named():
    own = tally(0.46, throughput=0.1, memory=0.05, cost=0.3, drop=-0.01)
    best = tally(0.5, throughput=0.2, memory=0.1, cost=0.2, drop=0.0)

    text = said([CALM], own, best)

    assert "is 0.460, 0.040 below the best constant setting on this traffic (0.500)" in text
    assert "lost in throughput (tokens served in time, 0.100 per window) and memory" in text
    assert "drop" not in text
    assert "Most was won in cost (money saved, 0.100 per window)." in text


def test_missed_objectives_are_counted_with_what_held_requests_back():
    late = CALM | {"slo_compliance_rate": 0.5, "binding_constraint": "kv"}
    waiting = late | {"overdue_requests": 7}

    text = said([CALM, late, waiting])

    assert "missed their objectives in 2 of 3 windows, mostly while held by kv" in text
    assert "In 1 of 3 windows requests waited" in text
    assert "up to 7 at once" in text


def test_a_window_in_which_nothing_was_decided_misses_nothing():
    empty = CALM | {"slo_compliance_rate": None, "slo_sample_count": 0}

    assert "Every request that was decided met its objectives." in said([empty])


def test_preemptions_drops_and_switches_are_told():
    text = said(
        [
            CALM | {"eviction_events": 4},
            CALM | {"dropped_requests": 3},
            CALM | {"switch_remaining_s": 2.0, "eviction_events": 1},
        ]
    )

    assert "The KV budget ran out 5 times in 2 windows" in text
    assert "3 requests were given up unserved." in text
    assert "At the end of 1 of 3 windows the engine stood still for a switch." in text


def test_memory_is_not_mentioned_where_it_costs_nothing():
    assert "granted" not in said([CALM], reward={"throughput": 1.0})


def test_an_episode_without_windows_is_told_only_that():
    text = said([])

    assert text.startswith("No window of 3 was played, so the score is 0.")
    assert "objectives" not in text
