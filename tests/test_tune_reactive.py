import numpy as np
import pytest

from agents.batch import mean_rewards
from agents.reactive_parameters import from_unit, to_unit, tuned_names
from scripts.tune_reactive import Tuner, as_constant, score_parameters
from tests.builders import action, task

SPEC = task(windows=10, gpus=2)


class HillCrew:
    """Scores parameters by their distance from a made-up optimum instead of by playing them."""

    def __init__(self):
        self.windows, self.seeds = 0, []

    def scores(self, _scorer, task, seeds, candidates, **_):
        self.windows += len(candidates) * len(seeds) * task.windows
        self.seeds.append(seeds)
        return [-abs(each.kv_base - 0.5) - abs(each.queue_weight - 1.5) for each in candidates]


def test_a_score_is_the_mean_reward_of_whole_episodes():
    assert score_parameters(SPEC, (0, 1), from_unit((), ())) == pytest.approx(
        0.5 * sum(score_parameters(SPEC, (seed,), from_unit((), ())) for seed in (0, 1))
    )


def test_parameters_can_hold_an_action():
    held = action(batch_cap=32, kv_budget_fraction=0.4, speculation_depth=2)

    score = score_parameters(SPEC, (0,), as_constant(SPEC, held))

    assert score == pytest.approx(float(mean_rewards(SPEC, (0,), [held])[0, 0]))


@pytest.mark.parametrize(
    "held", [action(), action(quantization_tier="INT4", priority_routing=True, batch_cap=1)]
)
def test_parameters_that_hold_an_action_lie_in_the_box(held):
    point = np.array(to_unit(tuned_names(SPEC), as_constant(SPEC, held)))

    assert (point >= 0.0).all()
    assert (point <= 1.0).all()


def test_the_search_climbs_within_its_budget_on_ever_new_training_seeds():
    workers = HillCrew()
    tuner = Tuner(workers, SPEC, budget=200_000, seed=0)

    finalists = tuner.improve(tuner.first_points())
    chosen, _ = tuner.choose(finalists[:12])

    assert chosen.kv_base == pytest.approx(0.5, abs=0.1)
    assert chosen.queue_weight == pytest.approx(1.5, abs=0.1)
    assert tuner.windows <= 200_000
    searched = [seed for seeds in workers.seeds[:-2] for seed in seeds]
    assert len(searched) == len(set(searched))


def test_the_same_seed_searches_the_same_way():
    first, again = (Tuner(HillCrew(), SPEC, budget=50_000, seed=3) for _ in range(2))

    assert first.first_points().tolist() == again.first_points().tolist()
