import csv

import numpy as np
import pytest

from agents.batch import mean_rewards
from agents.validation_curve import ValidationCurve
from llmserve_env.action_encoding import ActionDecoder
from llmserve_env.errors import InvalidInputError
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import shipped_catalogue
from scripts.learning_curves import read_curve
from tests.builders import task

TASK = shipped_catalogue().get("static_workload")
LEVELS = np.array([8, 4, 0, 0, 0, 0])
SEEDS = 3


def held(features):
    return np.tile(LEVELS, (len(features), 1))


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_constant_policy_earns_what_its_action_earns_on_the_validation_seeds(tmp_path):
    curve = ValidationCurve(TASK, tmp_path / "c.csv", seeds=SEEDS)

    found = curve.add(100, held)

    actions = [ActionDecoder(TASK).from_indices(LEVELS), curve.constant]
    ours, constant = mean_rewards(TASK, split_seeds("validation", SEEDS), actions)
    (row,) = rows(tmp_path / "c.csv")
    assert found.value == pytest.approx((ours - constant).mean(), abs=1e-12)
    assert float(row["static_workload/mean"]) == pytest.approx(ours.mean(), abs=1e-5)
    assert float(row["static_workload/constant"]) == pytest.approx(constant.mean(), abs=1e-5)


def test_every_validation_is_a_row_that_the_pictures_can_be_drawn_from(tmp_path):
    curve = ValidationCurve(TASK, tmp_path / "new" / "c.csv", seeds=2)

    found = [curve.add(steps, held).value for steps in (0, 50)]

    read = read_curve(tmp_path / "new" / "c.csv", 7)
    assert read.steps == (0.0, 50.0)
    assert read.differences["static_workload"] == pytest.approx(found, abs=1e-6)


def test_a_task_without_a_best_constant_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="made_up"):
        ValidationCurve(task(), tmp_path / "c.csv")
