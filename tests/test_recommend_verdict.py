"""What a recommendation says in sentences: who reads them sets flags and decides by them."""

import pytest

from server.recommend.verdict import sentences

SETTING = {
    "batch_cap": 182,
    "kv_budget_fraction": 0.1,
    "speculation_depth": 2,
    "quantization_tier": "INT8",
    "prefill_decode_split": False,
    "priority_routing": False,
    "token_budget": 2048,
}
LATER = {"p99_ttft_ms": 576.0, "p99_itl_ms": 48.0, "met_fraction": 0.9986}


def saving(value, low, high):
    return {"value": value, "low": low, "high": high}


def document(**changed):
    row = {"later": LATER, "holds": True, "holds_earlier": True, "setting": SETTING}
    return {
        "ask": {"slo_ttft_p99_ms": 1000.0, "slo_itl_p99_ms": 100.0, "gpus": 1},
        "constant": row | {"saving_over_default": saving(0.77, 0.76, 0.78)},
        "default": row | {"holds": False},
        "policies": [{"name": "the rule", "saving": saving(-0.002, -0.005, 0.001)}],
        "adaptive": "the rule",
        "adapting_pays": False,
        "enough": None,
        "loads": [{"load": 1.0, "holds": True}, {"load": 1.25, "holds": False}],
        "speeds_of_hardware": [{"label": "slow", "holds": False}],
        "minutes": {"best_constant": {"requests": [1, 2, 3]}},
        "fidelity": "Fidelity of a100-llama3-8b: no end-to-end runs",
        "kv_cache_gb": 6.17,
    } | changed


def test_it_says_in_this_order_what_to_set_what_that_saves_and_how_far_to_trust_it():
    told = sentences(document())

    assert list(told) == ["Answer", "Set", "Saves", "Adapting", "Room", "Trust"]
    assert told["Set"].startswith("batch cap 182, KV budget 10% of the pool, INT8, 2 draft tokens")
    assert told["Set"].endswith("KV cache: 6.2 GB per GPU.")
    assert "77 % cheaper [76 % to 78 %] than they are" in told["Saves"]
    assert told["Trust"] == (
        "Simulated, on 3 minutes that no search saw. Fidelity of a100-llama3-8b: no end-to-end "
        "runs. On a GPU 12 % slower than the tables the setting misses the objectives."
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (saving(0.13, 0.087, 0.16), "is 13 % cheaper [8.7 % to 16 %] than"),
        (saving(-0.13, -0.16, -0.087), "is 13 % dearer [8.7 % to 16 %] than"),
        (saving(0.002, -0.005, 0.009), "is 0.2 % cheaper [0.5 % dearer to 0.9 % cheaper] than"),
        (saving(0.05, None, None), "is 5.0 % cheaper than"),
        (saving(0.0, 0.0, 0.0), "is as dear [0 % to 0 %] as"),
    ],
)
def test_a_saving_is_cheaper_or_dearer_and_never_a_negative_cost(found, words):
    told = sentences(document(policies=[{"name": "the rule", "saving": found}]))

    assert words in told["Adapting"]


def test_where_nothing_holds_the_setting_is_the_nearest_and_it_is_said_what_would_do():
    base = document()
    row = base["constant"] | {"holds": False, "holds_earlier": False}
    told = sentences(document(constant=row, enough={"gpus": 6, "rate_fraction": 0.15}))

    assert "Set" not in told
    assert told["Nearest"].startswith("batch cap 182")
    assert "6 GPUs would do" in told["Enough"]


def test_a_policy_that_pays_is_said_to_be_run():
    rows = [{"name": "the rule", "saving": saving(0.13, 0.09, 0.16)}]

    told = sentences(document(policies=rows, adapting_pays=True))

    assert told["Adapting"].startswith("It pays: run policy.json.")
