"""What a training starts from, where a constant is known and where none is."""

from agents.batch import mean_rewards
from agents.ppo.course import SEEDS, course_of, good_constant
from agents.tuned_files import constant_for
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import shipped_catalogue

VERSION = shipped_catalogue().environment_version


def test_graded_tasks_and_variants_start_from_the_constants_that_were_searched_for():
    names = ("bursty_workload", "bursty_reasoning")

    course = course_of(names)

    assert [task.task_id for task in course.tasks] == list(names)
    assert course.constants == tuple(constant_for(task, VERSION) for task in course.tasks)


def test_on_another_profile_a_better_start_is_found_than_that_of_the_task_itself():
    course = course_of(["static_workload:profile=h100-llama3-8b"])
    (task,), (found,) = course.tasks, course.constants
    known = constant_for(task, VERSION)
    seeds = split_seeds("train", SEEDS)

    ours, default, theirs = mean_rewards(task, seeds, [found, task.default_action, known])

    assert ours.mean() > default.mean()
    assert ours.mean() >= theirs.mean()
    assert found == good_constant(task, known)
