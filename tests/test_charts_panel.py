from xml.etree import ElementTree

from llmserve_env.charts.panel import (
    WIDTH_PX,
    Panel,
    corners,
    draw_panel,
    number,
    y_range_of,
)
from llmserve_env.charts.svg import figure_element


def drawn(panel, **options):
    figure = figure_element(WIDTH_PX, panel.height_px)
    draw_panel(figure, panel, **options)
    return figure


def lines_of(figure):
    return figure.findall("polyline")


def texts_of(figure):
    return [element.text for element in figure.findall("text")]


def test_a_line_breaks_where_nothing_was_measured():
    panel = Panel("TTFT", {"ppo": [1.0, 2.0, None, 3.0, 1.0]}, windows=5)

    figure = drawn(panel)

    assert [len(line.get("points").split()) for line in lines_of(figure)] == [2, 2]


def test_level_stretches_are_drawn_by_their_ends():
    assert corners([(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 2.0)]) == [
        (0.0, 1.0),
        (2.0, 1.0),
        (3.0, 2.0),
    ]


def test_every_agent_has_its_own_colour_and_dashes():
    panel = Panel("Queue", {"vllm_default": [1.0, 2.0], "heuristic": [2.0, 1.0]}, windows=2)

    looks = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines_of(drawn(panel))}

    assert len(looks) == 2


def test_a_logarithmic_axis_shows_all_positive_values_and_the_objective():
    panel = Panel("TTFT", {"ppo": [0.0, 50.0, 20_000.0]}, 3, is_log=True, level=(300.0, "slo"))

    low, high = y_range_of(panel)

    assert 0.0 < low < 50.0
    assert high > 20_000.0
    assert "1,000" in texts_of(drawn(panel))


def test_an_axis_without_values_can_be_drawn():
    for is_log in (False, True):
        figure = drawn(Panel("Nothing yet", {"ppo": []}, windows=200, is_log=is_log))

        assert lines_of(figure) == []


def test_a_share_has_one_at_the_top_whatever_was_reached():
    _, high = y_range_of(Panel("SLO", {"ppo": [0.1]}, windows=1, top=1.0))

    assert 1.0 <= high < 1.1


def test_negative_rewards_stay_on_the_panel():
    low, _ = y_range_of(Panel("Reward", {"ppo": [-4.0, 2.0]}, windows=2))

    assert low < -4.0


def test_the_cursor_points_at_the_middle_of_a_window():
    plain = drawn(Panel("Queue", {"ppo": [1.0] * 10}, windows=10))

    pointed = drawn(Panel("Queue", {"ppo": [1.0] * 10}, windows=10), cursor=4)

    assert len(pointed.findall("line")) == len(plain.findall("line")) + 1
    (cursor,) = [line for line in pointed.findall("line") if line.get("class") == "cursor"]
    assert float(cursor.get("x1")) == 58 + 0.45 * (480 - 14 - 58)


def test_numbers_are_written_for_people():
    assert [number(value) for value in (15_000.0, 0.25, 3.0, 12.3456)] == [
        "15,000",
        "0.25",
        "3",
        "12.35",
    ]


def test_a_panel_is_well_formed_xml():
    text = ElementTree.tostring(drawn(Panel('a < b & "c"', {"ppo": [1.0]}, windows=1)))

    assert ElementTree.fromstring(text).tag.endswith("svg")
