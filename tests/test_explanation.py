from llmserve_env.explanation import (
    binding_shares,
    explain_episode,
    explain_window,
    knob_changes,
)
from llmserve_env.tasks import shipped_catalogue
from tests.agent_views import seen

TASK = shipped_catalogue().get("bursty_workload")


def observation(**fields):
    return seen(**{"config": TASK.default_action} | fields)


def test_a_window_held_by_kv_names_who_waits_and_how_full_the_budget_is():
    after = observation(
        binding_constraint="kv", queue_depth=34, kv_cache_occupancy=0.44, eviction_events=3
    )

    story = explain_window(TASK, None, after)

    assert story.binding == "kv"
    assert "34 wait" in story.held_by
    assert "44% of the pool in use of 90% allowed" in story.held_by
    assert "3 preempted" in story.held_by
    assert "A larger budget" in story.held_by


def test_a_full_pool_is_not_told_to_grow():
    config = TASK.default_action.model_copy(update={"kv_budget_fraction": 1.0})

    story = explain_window(TASK, None, observation(binding_constraint="kv", config=config))

    assert "The budget is at its limit" in story.held_by


def test_a_window_held_by_the_queue_names_the_batch_cap():
    story = explain_window(
        TASK, None, observation(binding_constraint="queue", active_requests=256, queue_depth=9)
    )

    assert "256 run under a cap of 256 per replica, 9 wait" in story.held_by


def test_a_window_held_by_compute_names_the_iteration_and_the_gpus():
    story = explain_window(
        TASK, None, observation(binding_constraint="compute", gpu_busy_fraction=0.97)
    )

    assert "an iteration of 2048 tokens, GPUs 97% busy" in story.held_by


def test_a_switch_says_how_long_it_still_takes():
    story = explain_window(
        TASK, None, observation(binding_constraint="switching", switch_remaining_s=1.5)
    )

    assert "1.5 s are left" in story.held_by


def test_a_window_held_by_nothing_says_so():
    story = explain_window(TASK, None, observation(active_requests=4, gpu_busy_fraction=0.5))

    assert story.held_by == "Nothing held requests back: 4 run, 0 wait, GPUs 50% busy."


def test_late_first_tokens_of_earlier_windows_are_told_from_present_trouble():
    story = explain_window(TASK, None, observation(p99_ttft_ms=900.0))

    assert "The p99 still counts late first tokens" in story.held_by


def test_a_real_server_that_tells_less_is_explained_with_what_there_is():
    unknown = {"kv_cache_occupancy": None, "gpu_busy_fraction": None}
    after = observation(binding_constraint="kv").model_copy(update=unknown)

    story = explain_window(TASK, None, after)

    assert "wait. A larger budget" in story.held_by


def test_a_moved_knob_is_told_with_what_moving_it_does():
    before = TASK.default_action
    after = before.model_copy(update={"batch_cap": 64, "quantization_tier": "INT8"})

    sentences = knob_changes(before, after)

    assert sentences == (
        "batch cap 256 → 64: running requests drain down to it",
        "quantization FP16 → INT8: the engine serves nothing while it switches weights",
    )


def test_the_first_window_is_compared_with_the_setting_in_force_at_reset():
    config = TASK.default_action.model_copy(update={"speculation_depth": 4})

    (story,) = explain_episode(TASK, [observation(config=config)])

    assert story.knobs[0].startswith("speculation depth 0 → 4")
    assert story.effects == ()


def test_crossing_the_objective_is_told_before_lesser_changes():
    before = observation(p99_ttft_ms=250.0, queue_depth=10, slo_compliance_rate=1.0)
    after = observation(p99_ttft_ms=700.0, queue_depth=18, slo_compliance_rate=0.85)

    story = explain_window(TASK, before, after)

    assert story.effects == (
        "p99 TTFT 250 → 700 ms (objective 300 ms)",
        "queue 10 → 18",
        "SLO met 100% → 85%",
    )


def test_small_changes_are_not_worth_a_word():
    story = explain_window(TASK, observation(queue_depth=3), observation(queue_depth=5))

    assert story.effects == ()


def test_windows_are_counted_by_what_held_them_back():
    windows = [
        observation(binding_constraint="kv"),
        observation(binding_constraint="none"),
        observation(binding_constraint="kv"),
    ]

    assert binding_shares(windows) == [("kv", 2), ("none", 1)]
