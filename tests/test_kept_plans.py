import numpy as np

from llmserve_env.models import KNOBS
from scripts.kept_plans import as_text, fingerprint, from_text, plans

PLAN = np.array([[64.0, 0.1 + 0.2, 2.0, 1.0, 0.0, 1.0], [96.0, 0.45, 0.0, 1.0, 0.0, 1.0]])


def test_a_schedule_survives_being_text_to_the_last_bit():
    assert np.array_equal(from_text(as_text(PLAN)), PLAN)


def test_the_text_is_a_line_per_knob():
    text = as_text(PLAN)

    assert list(text) == list(KNOBS)
    assert text["batch_cap"] == "64 96"


def test_a_kept_plan_is_not_made_again():
    made = []

    def make(seed):
        made.append(seed)
        return PLAN + seed

    schedules, kept = plans([1, 2], {"1": as_text(PLAN), "7": as_text(PLAN)}, make)

    assert made == [2]
    assert schedules.shape == (2, 2, 6)
    assert np.array_equal(schedules[:, 0], PLAN)
    assert np.array_equal(schedules[:, 1], PLAN + 2)
    assert list(kept) == ["1", "2"]


def test_another_version_has_another_fingerprint():
    assert fingerprint("1") == fingerprint("1")
    assert fingerprint("1") != fingerprint("2")
