from agents.registry import make_agent
from agents.rollout import play_episode
from llmserve_env.tasks import shipped_catalogue

BURSTY = shipped_catalogue().get("bursty_workload")


def test_an_episode_keeps_what_was_seen_after_every_window():
    episode = play_episode(make_agent("vllm_default"), BURSTY, 42)

    assert len(episode.windows) == len(episode.actions) == 200
    assert episode.windows[-1] is episode.last
    assert [window.config for window in episode.windows] == list(episode.actions)


def test_a_notebook_shows_an_episode_as_a_table_and_charts():
    episode = play_episode(make_agent("vllm_default"), BURSTY, 42)

    html = episode._repr_html_()

    assert "<style>" in html
    assert html.count('role="img"') == 6
    assert "Bursty workload, seed 42" in html
    assert len(repr(episode)) < 200_000
