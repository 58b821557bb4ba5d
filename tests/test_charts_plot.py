from xml.etree import ElementTree

import pytest

from llmserve_env.charts.forest import Estimated, forest, percent
from llmserve_env.charts.plot import Plot, Series, plot_figure


def drawn(html):
    return ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


def made_up(**changes):
    series = [
        Series("best_constant", [(1.0, 10.0), (10.0, 1.0)], ["a", "b < c"], is_joined=True),
        Series("heuristic", [(3.0, 3.0)], ["d"]),
    ]
    return Plot("Price", "strain", "dollars", series, **changes)


def test_a_plot_has_a_dot_a_point_and_a_table_of_them():
    html = plot_figure(made_up())

    dots = [each for each in drawn(html).iter() if each.tag == "circle"]
    assert len(dots) == 3
    assert html.count("<tr>") == 4
    assert "b &lt; c" in html


def test_a_logarithmic_axis_puts_the_geometric_mean_in_the_middle():
    figure = drawn(plot_figure(made_up(x_log=True, y_log=True)))

    left, right, middle = (float(each.get("cx")) for each in figure.iter("circle"))
    assert middle == pytest.approx(left + 0.477 * (right - left), abs=0.2)


def test_what_lies_beyond_a_level_is_tinted():
    figure = drawn(plot_figure(made_up(x_level=(5.0, "objective"))))

    (band,) = (each for each in figure.iter("rect"))
    assert band.get("class") == "band"
    assert any(each.text == "objective" for each in figure.iter("text"))


def test_a_forest_says_each_estimate_in_words_and_per_cent():
    rows = [Estimated("heuristic", 0.25, 0.1, 0.4), Estimated("ppo_generalist", -0.5, None, None)]

    html = forest("Saved", "cheaper", rows)

    label = drawn(html).get("aria-label")
    assert label == "Saved. Heuristic +25 % (+10 % to +40 %); PPO generalist -50 %"


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.034, "+3.4 %"), (-0.5, "-50 %"), (1e-6, "0 %")]
)
def test_per_cent_is_as_fine_as_its_size_asks_for(share, text):
    assert percent(share) == text
