import itertools
import json

import pytest

from llmserve_env.episode_file import SavedEpisode
from llmserve_env.errors import InvalidInputError
from server.web.downloads import MOST_FILES, Download, Downloads, UnknownDownloadError
from server.web.episodes import episodes_text, observations_of, parse_episodes
from server.web.race import Race
from server.web.story import change_table, story_at
from server.web.traffic import task_of

BURSTY = task_of("bursty_workload")


@pytest.fixture(scope="module")
def saved():
    race = Race(BURSTY, 42)
    for name in ("vllm_default", "heuristic"):
        race.join(name)
    race.advance(30)
    return race.saved()


def test_several_episodes_are_read_as_they_were_written(saved):
    assert list(parse_episodes(episodes_text(saved))) == saved


def test_the_log_of_the_environment_is_read_as_well(saved):
    (episode,) = parse_episodes(saved[0].log.model_dump_json())

    assert episode == SavedEpisode(saved[0].log)


def test_what_was_seen_is_restored_window_by_window(saved):
    windows = observations_of(saved[1].log)

    assert [window.step_index for window in windows] == list(range(1, 31))
    assert windows[4].config == saved[1].log.steps[4].action
    assert windows[4].queue_depth == saved[1].log.steps[4].metrics.queue_depth


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1 to 50000 lines of JSON, got 0"),
        ("hello", "no JSON"),
        ('{"format": "other"}', "format must be"),
        ('{"steps": 3}', "steps"),
        ("\x00\x01\n" * 3, "no JSON"),
    ],
)
def test_what_is_no_episode_is_refused_with_a_reason(text, told):
    with pytest.raises(InvalidInputError, match=told):
        parse_episodes(text)


def test_the_episode_that_is_broken_is_named(saved):
    lines = episodes_text(saved).splitlines()
    lines[40] = json.dumps(json.loads(lines[40]) | {"reward": "much"})

    with pytest.raises(InvalidInputError, match="episode 2 of the file, line 10: reward"):
        parse_episodes("\n".join(lines))


def test_the_story_of_a_window_is_escaped_html(saved):
    windows = observations_of(saved[1].log)

    html = story_at(BURSTY, windows, 10)

    assert html.startswith('<section class="ls-story" aria-live="polite"><h2>Window 11: ')


def test_the_table_of_changes_has_a_row_per_window_in_which_a_knob_moved(saved):
    windows = observations_of(saved[1].log)

    html = change_table(BURSTY, windows)

    moved = sum(a.config != b.config for a, b in itertools.pairwise(windows))
    moved += windows[0].config != BURSTY.default_action
    assert f"knob moved ({moved})" in html


def test_a_file_is_handed_out_under_a_name_that_nobody_guesses():
    downloads = Downloads()

    link = downloads.offer(Download("a<b.jsonl", "text/plain", lambda: "x"))

    token = link.partition("/downloads/")[2].partition('"')[0]
    assert len(token) >= 20
    assert "a&lt;b.jsonl" in link
    assert downloads.get(token).make() == "x"


def test_old_files_are_forgotten():
    downloads = Downloads()
    first = downloads.offer(Download("a", "text/plain", str))
    for _ in range(MOST_FILES):
        downloads.offer(Download("b", "text/plain", str))

    with pytest.raises(UnknownDownloadError):
        downloads.get(first.partition("/downloads/")[2].partition('"')[0])
