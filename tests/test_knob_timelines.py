from xml.etree import ElementTree

import numpy as np
import pytest

from llmserve_env.models import KNOBS
from scripts.knob_timelines import gained_so_far, knob_panel, number_panel, picture
from simulator.engine import action_row
from tests.builders import action

SVG = "{http://www.w3.org/2000/svg}"
ROWS = {
    name: np.tile(action_row(action()), (3, 1))
    for name in ("best_constant", "ppo", "reactive", "clairvoyant")
}
REGIMES = [(0, 2, "calm"), (2, 3, "code")]


def drawn(panels, regimes=REGIMES):
    return ElementTree.fromstring(picture("a < b", panels, window_s=1.0, regimes=regimes))


def texts(figure):
    return [element.text for element in figure.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("knob", "value", "marks"),
    [
        ("batch_cap", 6.0, ["1", "8", "64", "512"]),
        ("kv_budget_fraction", 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ("speculation_depth", 0.0, ["0", "2", "4", "6", "8"]),
        ("quantization_tier", 0.0, ["FP16", "INT8", "INT4"]),
        ("priority_routing", 0.0, ["off", "on"]),
    ],
)
def test_a_panel_of_a_knob_has_its_own_scale(knob, value, marks):
    panel = knob_panel(knob, ROWS)

    assert panel.lines["ppo"].tolist() == [value] * 3
    assert [label for _, label in panel.marks] == marks
    assert panel.y_range[0] < panel.marks[0][0] + 1e-9
    assert panel.y_range[1] > panel.marks[-1][0]


def test_a_picture_has_a_line_per_agent_in_every_panel():
    figure = drawn([knob_panel(knob, ROWS) for knob in KNOBS])

    assert len(list(figure.iter(f"{SVG}polyline"))) == 4 * len(KNOBS)
    assert {"a < b", "ppo", "clairvoyant", "calm", "code", "seconds"} <= set(texts(figure))


def test_the_policy_is_drawn_last_and_above_the_others():
    figure = drawn([knob_panel("batch_cap", ROWS)])

    widths = [float(line.get("stroke-width")) for line in figure.iter(f"{SVG}polyline")]
    assert widths[-1] == max(widths)


def test_equal_lines_of_a_choice_lie_beside_each_other():
    figure = drawn([knob_panel("quantization_tier", ROWS)])

    assert len({line.get("points") for line in figure.iter(f"{SVG}polyline")}) == 4


def test_a_regime_is_shaded_and_calm_is_not():
    figure = drawn([knob_panel("batch_cap", ROWS)])

    fills = [rect.get("fill") for rect in figure.iter(f"{SVG}rect")]
    assert fills.count("#FFFFFF") == 3  # the paper, calm in the legend and in the panel
    assert len(fills) == 5


def test_a_single_regime_is_not_shaded():
    figure = drawn([knob_panel("batch_cap", ROWS)], regimes=[(0, 3, "load level 1 to 2")])

    assert {rect.get("fill") for rect in figure.iter(f"{SVG}rect")} == {"#FFFFFF"}


def test_numbers_lie_within_the_edges_of_their_panel():
    panel = number_panel("n", {"a": np.array([-3.0, 1.0]), "b": np.array([2.0, 2.0])})

    assert panel.y_range[0] < -3.0
    assert panel.y_range[1] > 2.0


def test_what_was_gained_ends_at_the_difference_of_the_scores():
    rewards = {"p": np.array([1.0, 0.5]), "c": np.array([0.5, 0.5])}

    found = gained_so_far(rewards, "c")

    assert found["p"].tolist() == [0.25, 0.25]
    assert found["c"].tolist() == [0.0, 0.0]
