import asyncio

import pytest
from pydantic import ValidationError

from llmserve_env.errors import InvalidInputError, NotGradedError, UnknownTaskError
from llmserve_env.tasks import shipped_catalogue
from server import baselines
from server.baselines import BaselineRequest, Baselines, run_baselines
from server.refusals import BaselineTimeoutError

QUICK = BaselineRequest(task_id="static_workload", agents=("vllm_default", "best_constant"))


def test_the_best_constant_scores_one_half():
    answer = run_baselines(QUICK)

    result = answer.tasks["static_workload"]["best_constant"]
    assert result.score == 0.5
    assert result.score_unclipped == 0.5
    assert result.raw_score == pytest.approx(result.total_reward / 200)


def test_every_task_is_played_unless_one_is_named():
    answer = run_baselines(BaselineRequest(agents=("vllm_default",)))

    assert list(answer.tasks) == [task.task_id for task in shipped_catalogue().tasks]
    assert answer.environment_version == shipped_catalogue().environment_version
    assert answer.seed == 2_000_000


def test_the_same_request_has_the_same_answer_to_the_last_byte():
    assert run_baselines(QUICK).model_dump_json() == run_baselines(QUICK).model_dump_json()


def test_the_usual_suite_sees_no_future():
    baselines.check_request(BaselineRequest())


def test_an_agent_that_is_no_baseline_is_refused():
    with pytest.raises(InvalidInputError, match=r"'os:system' is no baseline; known: random"):
        run_baselines(BaselineRequest(agents=("os:system",)))


def test_an_unknown_task_is_refused():
    with pytest.raises(UnknownTaskError, match="no_such_task"):
        run_baselines(BaselineRequest(task_id="no_such_task"))


@pytest.mark.parametrize(
    "fields",
    [{"agents": ()}, {"agents": ("random",) * 17}, {"seed": -1}, {"seed": 1.5}, {"episodes": 3}],
)
def test_a_request_out_of_bounds_is_refused(fields):
    with pytest.raises(ValidationError):
        BaselineRequest(**fields)


def test_requests_for_the_same_at_once_are_played_once(monkeypatch):
    played = []

    def play(request, **_):
        played.append(request)
        return run_baselines(request)

    monkeypatch.setattr(baselines, "run_baselines", play)
    suite = Baselines(limit_s=60.0, max_waiting=4)

    async def ask_three_times():
        return await asyncio.gather(*(suite.answer(QUICK) for _ in range(3)))

    answers = asyncio.run(ask_three_times())

    assert played == [QUICK]
    assert answers[0] is answers[1] is answers[2]


def test_a_refused_request_is_not_remembered():
    suite = Baselines(limit_s=60.0, max_waiting=4)

    with pytest.raises(UnknownTaskError):
        asyncio.run(suite.answer(BaselineRequest(task_id="no_such_task")))

    assert "static_workload" in asyncio.run(suite.answer(QUICK)).tasks


def test_no_episode_is_begun_once_the_time_is_up():
    with pytest.raises(BaselineTimeoutError, match="longer than 0 s"):
        run_baselines(QUICK, limit_s=0.0)


def test_a_variant_is_refused_before_anything_is_played():
    with pytest.raises(NotGradedError, match="bursty_azure_code"):
        baselines.check_request(BaselineRequest(task_id="bursty_azure_code"))
