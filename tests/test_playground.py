import json
import re
import subprocess
import sys

import pytest

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


@pytest.mark.slow
def test_the_call_that_the_playground_shows_works_as_written(http):
    page = http.get("/web/").text
    (told,) = re.findall(r'"(```python\\n.*?```)', page)
    code = json.loads(f'"{told}"').removeprefix("```python\n").removesuffix("```")

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )

    assert "A closed-loop LLM serving deployment" in page
    assert done.returncode == 0, done.stderr
    assert "step_index=1" in done.stdout
