from llmserve_env.tasks import shipped_catalogue
from server.playground import drawn, quick_settings
from tests.agent_views import seen

BURSTY = shipped_catalogue().get("bursty_workload")
AFTER = seen(task_id="bursty_workload", config=BURSTY.default_action, binding_constraint="kv")


def test_an_observation_is_drawn_as_instruments_and_a_sentence():
    html = drawn(BURSTY, AFTER)

    assert "Bursty workload, window 1 of 200" in html
    assert "<dt>p99 TTFT</dt>" in html
    assert "The KV budget held requests back" in html


def test_every_setting_on_offer_is_one_that_the_task_allows():
    for task in shipped_catalogue().tasks:
        for label, action in quick_settings(task, AFTER):
            task.check_action(action)
            assert label
