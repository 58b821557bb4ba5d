import pytest

from agents.llm_calls import Answer, CallFailedError, Failure, Prompt
from agents.llm_cassette import Player, Recorder
from llmserve_env.errors import InvalidInputError

ONE = Prompt(system="briefing", user="one", tool={})
TWO = Prompt(system="briefing", user="two", tool={})


class Chat:
    def ask(self, prompt):
        if prompt is TWO:
            raise CallFailedError(Failure.RATE_LIMITED, retry_after_s=3.0)
        return Answer(text="said", prompt_tokens=7, completion_tokens=2)


@pytest.fixture
def cassette(tmp_path):
    recorder = Recorder(Chat(), "some-model")
    recorder.ask(ONE)
    with pytest.raises(CallFailedError):
        recorder.ask(TWO)
    recorder.save(tmp_path / "run.jsonl")
    return tmp_path / "run.jsonl"


def test_what_was_recorded_is_replayed_failures_too(cassette):
    player = Player(cassette)

    assert player.model == "some-model"
    assert player.ask(ONE) == Answer(text="said", prompt_tokens=7, completion_tokens=2)
    with pytest.raises(CallFailedError) as failed:
        player.ask(TWO)
    assert (failed.value.kind, failed.value.retry_after_s) == (Failure.RATE_LIMITED, 3.0)


def test_a_cassette_holds_no_prompt(cassette):
    text = cassette.read_text()

    assert "briefing" not in text
    assert len(text.splitlines()) == 3


def test_another_prompt_than_the_recorded_one_is_refused(cassette):
    with pytest.raises(InvalidInputError, match="line 2 answers another prompt"):
        Player(cassette).ask(TWO)


def test_a_question_beyond_the_end_is_refused(cassette):
    player = Player(cassette)
    player.ask(ONE)
    with pytest.raises(CallFailedError):
        player.ask(TWO)

    with pytest.raises(InvalidInputError, match="ends with line 3"):
        player.ask(ONE)


@pytest.mark.parametrize("text", ["", "{}", '{"format": "other", "model": "m"}', "\xff"])
def test_a_file_that_is_no_cassette_is_refused(text, tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(InvalidInputError, match=r"run\.jsonl"):
        Player(path)


def test_a_cassette_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        Player(tmp_path / "none.jsonl")
