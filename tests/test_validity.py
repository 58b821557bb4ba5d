"""Lines of fidelity and warnings, from what was observed."""

from llmserve_env.tasks import shipped_catalogue
from simulator.environment import ServingEnvironment
from simulator.fidelity_card import shipped_card
from simulator.validity import Excursion, excursions, fidelity_line, merged

H100 = "bursty_workload:profile=h100-llama3-8b"


def task(task_id):
    return shipped_catalogue().get(task_id)


def window(**fields):
    usual = {"active_requests": 16, "kv_cache_occupancy": 0.2, "mean_prompt_length": 2_000.0}
    return usual | fields


def found(task_id, fields, **knobs):
    spec = task(task_id)
    action = spec.default_action.model_copy(update=knobs)
    return excursions(spec, [(action, fields)] * 3)


def test_the_line_is_the_cards_with_the_profile_named():
    card = shipped_card("h100-llama3-8b")

    assert fidelity_line("h100-llama3-8b") == f"h100-llama3-8b: {card.line}"
    assert "no end-to-end runs" in fidelity_line("a100-llama3-8b")


def test_an_episode_within_the_range_has_no_warning():
    pool_tokens = 32_000  # about what 24 GB leave; 0.2 of it over 4 requests is 1,600 tokens each
    fields = window(active_requests=8, kv_cache_occupancy=8 * 2_000 / pool_tokens)

    assert [each.quantity for each in found(H100, fields)] == []


def test_a_longer_prompt_and_more_requests_are_named_with_value_and_range():
    fields = window(active_requests=300, mean_prompt_length=9_000.0, kv_cache_occupancy=0.0)

    requests, prompts = found(H100, fields)

    assert requests.line == (
        "outside the validated range: requests in hand on a GPU 300 in 3 of 3 windows; "
        "compared: 8 to 128"
    )
    assert (prompts.quantity, prompts.high) == ("mean prompt, tokens,", 9_000.0)
    assert prompts.compared == "1,024 to 4,096"


def test_a_tier_speculation_and_the_split_that_no_run_had_are_named():
    fields = window(kv_cache_occupancy=0.0)
    knobs = {"quantization_tier": "INT8", "speculation_depth": 3, "prefill_decode_split": True}

    told = [each.line for each in found(H100, fields, **knobs)]

    assert any("speculation_depth 3 in 3 of 3 windows" in line for line in told)
    assert any("prefill_decode_split in 3 of 3" in line for line in told)
    assert any("quantization_tier INT8 in 3 of 3 windows; compared: FP16" in line for line in told)


def test_an_idle_window_is_outside_of_nothing():
    fields = window(active_requests=0, kv_cache_occupancy=0.0, mean_prompt_length=None)

    assert found(H100, fields) == ()


def test_episodes_add_up_by_quantity():
    one = Excursion("q", 1.0, 2.0, "3 to 4", windows=5, played=10)
    other = Excursion("q", 0.5, 1.0, "3 to 4", windows=1, played=10)

    assert merged([[one], [other]]) == (Excursion("q", 0.5, 2.0, "3 to 4", windows=6, played=20),)


def test_a_grade_carries_the_line_and_the_warnings():
    from grader.grading import grade_played

    environment = ServingEnvironment()
    observation = environment.reset(task_id="bursty_workload", seed=1)
    environment.step(observation.config.model_copy(update={"speculation_depth": 2}))

    report = grade_played(environment)

    assert report.fidelity.profile == "a100-llama3-8b"
    assert report.fidelity.line == fidelity_line("a100-llama3-8b")
    (warning,) = report.fidelity.warnings
    assert "speculation_depth 2 in 1 of 1 windows" in warning
