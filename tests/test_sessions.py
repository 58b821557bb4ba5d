import pytest

from llmserve_env.errors import (
    CapacityReachedError,
    EpisodeNotStartedError,
    UnknownEpisodeError,
    UnknownSessionError,
)
from server.graded import GradedEnvironment
from server.refusals import TooManySessionsError
from server.sessions import SessionStore


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return SessionStore(limit=2, ttl_s=600.0, clock=clock)


@pytest.fixture
def environment():
    return GradedEnvironment()


def test_a_session_is_found_by_its_id(store, environment):
    session = store.add(environment)

    assert store.get(session.session_id) is session


def test_without_an_id_the_most_recently_used_session_answers(store, environment):
    first = store.add(environment)
    second = store.add(environment)
    assert store.get(None) is second

    store.get(first.session_id)

    assert store.get(None) is first


def test_without_any_session_the_episode_has_not_started(store):
    with pytest.raises(EpisodeNotStartedError):
        store.get(None)


def test_an_id_nobody_was_given_is_unknown(store):
    with pytest.raises(UnknownSessionError, match="made-up"):
        store.get("made-up")


def test_an_idle_session_expires(store, environment, clock):
    session = store.add(environment)
    clock.now_s += 600.1

    with pytest.raises(UnknownSessionError):
        store.get(session.session_id)
    assert len(store) == 0


def test_use_keeps_a_session_alive(store, environment, clock):
    session = store.add(environment)
    clock.now_s += 500.0
    store.get(session.session_id)
    clock.now_s += 500.0

    assert store.get(session.session_id) is session


def test_a_full_store_refuses_and_says_when_the_oldest_expires(store, environment, clock):
    store.add(environment)
    clock.now_s += 100.0
    store.add(environment)

    with pytest.raises(CapacityReachedError, match="all 2 sessions"):
        store.add(environment)
    assert store.retry_after_s() == 500


def test_a_full_store_closes_an_expired_session(store, environment, clock):
    old = store.add(environment)
    clock.now_s += 400.0
    kept = store.add(environment)
    clock.now_s += 300.0

    store.add(environment)

    assert store.get(kept.session_id) is kept
    with pytest.raises(UnknownSessionError):
        store.get(old.session_id)


def test_a_full_store_closes_a_finished_episode(store, environment):
    running = store.add(environment)
    finished = store.add(GradedEnvironment())
    finished.environment.is_finished = True

    store.add(environment)

    assert store.get(running.session_id) is running
    with pytest.raises(UnknownSessionError):
        store.get(finished.session_id)


def test_a_closed_session_frees_its_place(store, environment):
    session = store.add(environment)
    store.close(session.session_id)

    assert len(store) == 0
    with pytest.raises(UnknownSessionError):
        store.close(session.session_id)


def test_a_session_is_found_by_the_episode_it_plays(store):
    session = store.add(GradedEnvironment())
    session.environment.reset(episode_id="mine")
    store.add(GradedEnvironment())

    assert store.playing("mine") is session
    assert store.get(None) is session


def test_the_most_recent_of_two_sessions_with_one_episode_id_answers(store):
    for _ in range(2):
        newest = store.add(GradedEnvironment())
        newest.environment.reset(episode_id="mine")

    assert store.playing("mine") is newest


def test_an_episode_that_no_session_plays_any_more_is_unknown(store):
    session = store.add(GradedEnvironment())
    session.environment.reset(episode_id="old")
    session.environment.reset(episode_id="new")

    with pytest.raises(UnknownEpisodeError, match="'old'"):
        store.playing("old")


def test_an_owner_holds_no_more_than_one_may_and_others_have_room(environment, clock):
    store = SessionStore(limit=3, ttl_s=600.0, limit_per_owner=1, clock=clock)
    store.add(environment, "a")
    clock.now_s += 100.0

    with pytest.raises(TooManySessionsError, match="this client holds 1 sessions") as refused:
        store.add(environment, "a")

    assert refused.value.retry_after_s == 500
    assert store.add(environment, "b").owner == "b"


def test_an_owner_at_its_limit_gives_up_a_finished_episode_of_its_own(clock):
    store = SessionStore(limit=3, ttl_s=600.0, limit_per_owner=1, clock=clock)
    foreign, own = store.add(GradedEnvironment(), "b"), store.add(GradedEnvironment(), "a")
    foreign.environment.is_finished = own.environment.is_finished = True

    store.add(GradedEnvironment(), "a")

    assert own.session_id not in store
    assert foreign.session_id in store


def test_without_an_id_nobody_gets_the_session_of_another_owner(store, environment):
    store.add(environment, "a")

    with pytest.raises(EpisodeNotStartedError):
        store.get(None, "b")
