import re
from xml.etree import ElementTree

import pytest

from agents.registry import make_agent
from agents.rollout import play_episode
from llmserve_env.charts.episode import Track, episode_panels
from llmserve_env.charts.figures import agents_of, figures, picture, style
from llmserve_env.charts.gauges import gauges, instruments
from llmserve_env.charts.ranking import Head, Ranked, ranking
from llmserve_env.charts.scatter import scatter
from llmserve_env.charts.styles import LOOKS, in_order, look_of
from llmserve_env.charts.tables import table
from llmserve_env.charts.timeline import Timeline, timeline
from llmserve_env.tasks import shipped_catalogue
from tests.agent_views import seen
from tests.builders import task

TASK = task(windows=12)


@pytest.fixture(scope="module")
def tracks():
    bursty = shipped_catalogue().get("bursty_workload")
    found = []
    for name in ("vllm_default", "heuristic"):
        found.append(Track(name, play_episode(make_agent(name), bursty, 42).windows))
    return bursty, found


def svgs_in(html):
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_an_episode_has_six_panels_with_a_line_per_agent(tracks):
    panels = episode_panels(*tracks)

    assert len(panels) == 6
    assert agents_of(panels) == ["heuristic", "vllm_default"]


def test_every_figure_has_a_name_for_screen_readers_and_a_table_beside_it(tracks):
    html = figures(episode_panels(*tracks))

    pictures = [svg for svg in svgs_in(html) if svg.get("role") == "img"]
    assert len(pictures) == 6
    assert all(svg.get("aria-label") for svg in pictures)
    assert html.count("<details>") == html.count("<table ") == 6


def test_live_figures_leave_the_tables_out(tracks):
    assert "<table " not in figures(episode_panels(*tracks), tables=False)


def test_a_picture_stands_alone_as_one_svg_file(tracks):
    text = picture("Two & two", episode_panels(*tracks))

    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == "Two & two"
    assert "var(" not in text


def test_nothing_drawn_refers_to_another_place(tracks):
    html = style() + figures(episode_panels(*tracks))

    assert re.findall(r"(?:href|src|url\()", html) == []


def test_panels_of_an_episode_that_has_not_begun_can_be_drawn():
    html = figures(episode_panels(TASK, [Track("you", [])]))

    assert "Nothing played yet" in html


def test_all_agents_of_ours_can_be_told_apart_without_colour_or_by_it():
    looks = {(look.colour, look.dash) for look in LOOKS.values()}

    assert len(looks) >= len(LOOKS) - 1
    assert len({look.label for look in LOOKS.values()}) == len(LOOKS)


def test_an_agent_from_elsewhere_is_shown_by_its_name_escaped():
    html = figures(episode_panels(TASK, [Track("<b>mine</b>", [seen()])]))

    assert look_of("module:Mine").label == "module:Mine"
    assert "<b>mine" not in html
    assert "&lt;b&gt;mine" in html


def test_legends_list_known_agents_first():
    assert in_order(["zebra", "vllm_default", "ppo", "zebra"]) == ["ppo", "vllm_default", "zebra"]


def test_the_ranking_shows_a_grade_or_says_that_there_is_none():
    rows = [Ranked("ppo", 0.81, ["+0.824"]), Ranked("heuristic", None, ["+0.357"])]

    html = ranking(rows, [Head("mean reward", "of a window")], no_score="not graded")

    assert "0.810" in html
    assert "not graded" in html
    assert html.index("PPO specialist") < html.index("Heuristic")


def test_the_timeline_counts_windows_by_what_held_them_back(tracks):
    bursty, (track, _) = tracks
    lanes = Timeline(track.windows, bursty.default_action, 200, bursty.active_actions)

    (svg,) = svgs_in(timeline(lanes, cursor=10))

    assert svg.get("aria-label").startswith("Windows of 200 held back by: ")


def test_a_knob_that_moved_is_marked_in_its_lane():
    windows = [seen(), seen(config=TASK.default_action.model_copy(update={"batch_cap": 7}))]
    lanes = Timeline(windows, windows[0].config, 12, ("batch_cap",))

    html = timeline(lanes)

    assert html.count('class="f-ink"') == 1


def test_instruments_warn_of_what_is_past_its_objective():
    shown = instruments(TASK, seen(p99_ttft_ms=9_999.0, overdue_requests=4))

    bad = [gauge.name for gauge in shown if gauge.is_bad]
    assert bad == ["Waiting", "p99 TTFT"]


def test_instruments_show_a_dash_for_what_was_not_measured():
    html = gauges(TASK, seen(p99_ttft_ms=None, slo_compliance_rate=None))

    assert html.count("<dd>\N{EN DASH}") == 2


def test_points_on_the_diagonal_agree():
    (svg,) = svgs_in(scatter("TPOT", "ms", [(10.0, 10.0), (20.0, 20.0)]))

    assert len(svg.findall("circle")) == 2


def test_tables_escape_what_they_show():
    assert "<script>" not in table(["<script>"], [["<script>"]], caption="<script>")
