import pytest

from agents.llm_agent import LlmAgent
from agents.llm_budget import Budget
from agents.llm_calls import Answer, CallFailedError, Failure
from agents.llm_settings import LlmSettings
from llmserve_env.errors import LanguageModelError
from tests.agent_views import seen
from tests.builders import action, task


class Scripted:
    """Answers with these, the last one for ever; a Failure or an error is a failed call."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.prompts = []

    def ask(self, prompt):
        self.prompts.append(prompt)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Failure):
            raise CallFailedError(reply)
        if isinstance(reply, CallFailedError):
            raise reply
        return Answer(text=reply, prompt_tokens=100, completion_tokens=5)


def agent_of(*replies, budget=None, **settings):
    chat, pauses = Scripted(*replies), []
    agent = LlmAgent(chat, LlmSettings(**settings), budget=budget, sleep=pauses.append)
    agent.reset(task(windows=200), 0)
    return agent, chat, pauses


def caps(agent, observations):
    return [agent.act(each).batch_cap for each in observations]


def quiet(count):
    return [seen(step_index=step) for step in range(count)]


def test_a_decision_holds_for_as_many_windows_as_the_model_says():
    agent, chat, _ = agent_of('{"batch_cap": 8, "hold_windows": 3}', '{"batch_cap": 9}')

    assert caps(agent, quiet(5)) == [8, 8, 8, 9, 9]
    assert len(chat.prompts) == 2


def test_a_decision_without_a_word_about_it_holds_as_the_settings_say():
    agent, chat, _ = agent_of('{"batch_cap": 8}', hold_windows=4)

    caps(agent, quiet(9))

    assert len(chat.prompts) == 3


def test_missed_objectives_end_a_hold_but_only_once():
    agent, chat, _ = agent_of('{"batch_cap": 8, "hold_windows": 20}', '{"batch_cap": 9}')
    missed = [seen(step_index=step, slo_compliance_rate=0.5) for step in range(1, 6)]

    assert caps(agent, [seen(step_index=0), *missed]) == [8, 8, 9, 9, 9, 9]
    assert len(chat.prompts) == 2


def test_requests_past_their_objective_end_a_hold_too():
    agent, _, _ = agent_of('{"batch_cap": 8, "hold_windows": 20}', '{"batch_cap": 9}')
    late = [seen(step_index=step, overdue_requests=3) for step in range(1, 4)]

    assert caps(agent, [seen(step_index=0), *late]) == [8, 8, 9, 9]


def test_the_number_of_decisions_is_bounded_and_the_last_one_holds_to_the_end():
    agent, chat, _ = agent_of('{"batch_cap": 8, "hold_windows": 1}', max_decisions=3)

    assert caps(agent, quiet(20)) == [8] * 20
    assert len(chat.prompts) == 3


@pytest.mark.parametrize("garbage", ["", "no idea", '{"batch_cap": 0}', '{"cap": 3}'])
def test_a_failed_decision_keeps_the_last_valid_action_and_is_counted(garbage):
    agent, chat, pauses = agent_of('{"batch_cap": 8}', garbage, hold_windows=2)

    assert caps(agent, quiet(4)) == [8, 8, 8, 8]
    assert len(chat.prompts) == 4  # one, and three tries
    assert pauses == []
    assert (agent.tally.decisions, agent.tally.own_decisions) == (2, 1)
    assert agent.account()["llm_failed_decisions"] == 1
    assert agent.last_failure is not None


def test_before_the_first_valid_decision_the_task_default_is_in_force():
    agent, _, _ = agent_of("no idea")

    assert agent.act(seen(step_index=0)) == action()


def test_an_episode_without_a_decision_of_its_own_has_no_score():
    agent, _, _ = agent_of("no idea")
    caps(agent, quiet(12))

    with pytest.raises(LanguageModelError, match=r"none of 2 decisions was .* own \(2 no_json\)"):
        agent.account()


def test_the_model_is_told_what_was_wrong():
    agent, chat, _ = agent_of('{"batch_cap": 0}', '{"batch_cap": 8}')

    assert agent.act(seen(step_index=0)).batch_cap == 8
    assert "Your last answer was refused: batch_cap: " in chat.prompts[1].user
    assert agent.last_failure is None


@pytest.mark.parametrize(
    "lost",
    [Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.CONNECTION, Failure.MALFORMED],
)
def test_a_lost_call_is_repeated_after_a_growing_pause(lost):
    agent, _, pauses = agent_of(lost, lost, '{"batch_cap": 8}')

    assert agent.act(seen(step_index=0)).batch_cap == 8
    assert pauses == [1.0, 2.0]
    assert agent.tally.calls == 3
    assert agent.tally.failed_calls == {lost.value: 2}
    assert agent.tally.failed_decisions.total() == 0


def test_the_wait_that_a_server_asks_for_is_kept():
    limited = CallFailedError(Failure.RATE_LIMITED, retry_after_s=7.0)
    agent, _, pauses = agent_of(limited, '{"batch_cap": 8}')

    agent.act(seen(step_index=0))

    assert pauses == [7.0]


def test_a_wait_that_is_too_long_fails_the_decision_at_once():
    limited = CallFailedError(Failure.RATE_LIMITED, retry_after_s=3_600.0)
    agent, chat, pauses = agent_of(limited)

    agent.act(seen(step_index=0))

    assert (len(chat.prompts), pauses) == (1, [])
    assert agent.tally.failed_decisions == {"rate_limited": 1}


def test_a_prompt_that_is_too_long_is_not_sent_again():
    agent, chat, _ = agent_of(Failure.CONTEXT_TOO_LONG)

    agent.act(seen(step_index=0))

    assert len(chat.prompts) == 1


@pytest.mark.parametrize(
    "fatal", [Failure.AUTHENTICATION, Failure.UNKNOWN_MODEL, Failure.QUOTA], ids=lambda f: f.value
)
def test_a_model_that_cannot_be_asked_ends_the_episode_after_one_call(fatal):
    agent, chat, _ = agent_of(fatal)

    with pytest.raises(LanguageModelError, match=f"cannot be asked: {fatal.value}"):
        agent.act(seen(step_index=0))
    assert len(chat.prompts) == 1


def test_an_episode_is_given_up_when_nobody_answers_any_more():
    agent, chat, _ = agent_of(Failure.SERVER_ERROR, hold_windows=1)

    with pytest.raises(LanguageModelError, match=r"3 decisions in a row, 9 calls so far: server_"):
        caps(agent, quiet(10))
    assert len(chat.prompts) == 9


@pytest.mark.parametrize("budget", [{"max_calls": 2}, {"max_tokens": 150}, {"deadline_s": 0.0}])
def test_beyond_the_budget_nobody_is_asked_and_the_decisions_count_as_failed(budget):
    agent, chat, _ = agent_of('{"batch_cap": 8}', hold_windows=1, budget=Budget(**budget))

    caps(agent, quiet(4))

    assert len(chat.prompts) == (0 if "deadline_s" in budget else 2)
    assert agent.tally.failed_decisions == {"limit": 4 - len(chat.prompts)}


def test_tokens_are_counted_and_what_is_not_told_is_estimated():
    agent, chat, _ = agent_of(
        '{"batch_cap": 8}', Failure.TIMEOUT, '{"batch_cap": 9}', hold_windows=1
    )

    caps(agent, quiet(2))

    lost = chat.prompts[1].estimated_tokens
    assert agent.tally.prompt_tokens == 200 + lost
    assert agent.tally.completion_tokens == 10
    assert agent.tally.estimated_calls == 1


def test_an_agent_forgets_the_episode_before():
    agent, _, _ = agent_of('{"batch_cap": 8}')
    caps(agent, quiet(3))

    agent.reset(task(windows=200), 0)

    assert agent.tally.decisions == 0


def test_the_prompt_names_fields_with_units_and_says_what_is_left():
    agent, chat, _ = agent_of('{"batch_cap": 8, "hold_windows": 1}', history_windows=2)

    caps(agent, quiet(4))

    system, user = chat.prompts[-1].system, chat.prompts[-1].user
    assert "time to first token 500, 500, 500 ms" in system
    assert "batch_cap: integer 1 to 512." in system
    assert "+0.77 x throughput" in system
    assert "p99_ttft_ms" in user
    assert user.count("\n2,") == 1
    assert "\n1," not in user
    assert "Left: 197 windows, 37 decisions." in user


def test_a_decision_that_was_interrupted_is_nobodys_own():
    agent, chat, _ = agent_of('{"batch_cap": 8}')
    chat.ask = _interrupt

    with pytest.raises(KeyboardInterrupt):
        agent.act(seen(step_index=0))

    assert (agent.tally.decisions, agent.tally.own_decisions) == (1, 0)


def _interrupt(_prompt):
    raise KeyboardInterrupt
