"""The LLMServe tab in a real browser, on a running server."""

import re
import time

import pytest

from tests.browser import chromium_page, needs_chromium

pytest.importorskip("selenium", reason="needs the group `dev`: selenium")
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def page(server_url, tmp_path):
    with chromium_page(server_url, tmp_path) as opened:
        opened.open()
        yield opened


def until_done(page, what):
    """Wait for a comparison that is told by these words: the status may still be the last one's."""

    def is_done():
        status = page.text("compare-status")
        return "Done: " in status and what in status

    page.until(is_done)


def run_comparison(page, seed):
    page.fill("compare-seed", str(seed))
    page.click("compare-run")
    until_done(page, f"seed {seed}")


def test_a_comparison_fills_the_table_and_draws_six_charts(page):
    run_comparison(page, 43)

    rows = page.driver.find_elements("css selector", "#compare-ranking tbody tr")
    charts = page.driver.find_elements("css selector", "#compare-charts svg[role=img]")
    assert "seed 43" in page.text("compare-status")
    assert len(rows) == 3
    assert all(re.search(r"\d\.\d{3}", row.text) for row in rows)
    assert len(charts) == 6
    assert page.html("compare-charts").count("<details>") == 6
    assert "objective 300 ms" in page.html("compare-charts")


def test_a_run_that_cannot_be_says_why_and_leaves_the_last_one_there(page):
    for box in page.driver.find_elements("css selector", "#compare-agents input:checked"):
        box.click()
    page.click("compare-run")

    page.until_text("compare-status", "choose 1 to 6 agents, got 0")
    assert len(page.driver.find_elements("css selector", "#compare-ranking tbody tr")) == 3


def test_the_episodes_and_the_picture_can_be_downloaded(page, tmp_path):
    links = page.driver.find_elements("css selector", "#compare-files a.download")
    for link in links:
        link.click()

    page.until(lambda: len([*tmp_path.glob("*.jsonl"), *tmp_path.glob("*.svg")]) == 2)
    lines = next(tmp_path.glob("*.jsonl")).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3 * 201
    assert next(tmp_path.glob("*.svg")).read_text(encoding="utf-8").startswith("<svg")


def test_the_wheel_steps_and_shows_what_held_requests_back(page):
    page.tab("Take the wheel")
    page.until(lambda: page.element("wheel-start").is_displayed())
    page.click("wheel-start")
    page.until_text("wheel-status", "200 windows")
    page.click("wheel-one")
    page.until_text("wheel-status", "Window 1 of 200")
    page.click("wheel-ten")
    page.until_text("wheel-status", "Window 11 of 200")

    assert "Heuristic" in page.text("wheel-status")
    assert "held back by" in page.text("wheel-panel").lower()
    assert len(page.driver.find_elements("css selector", "#wheel-charts svg[role=img]")) == 6


def test_stepping_before_the_start_says_what_to_do(page):
    page.tab("Take the wheel")
    page.until(lambda: page.element("wheel-one").is_displayed())
    page.click("wheel-one")

    page.until_text("wheel-status", "Press Start first")


def test_the_episode_at_the_wheel_ends_with_a_grade(page):
    page.tab("Take the wheel")
    page.until(lambda: page.element("wheel-start").is_displayed())
    page.click("wheel-start")
    page.until_text("wheel-status", "200 windows")
    for played in range(10, 201, 10):
        page.click("wheel-ten")
        page.until_text("wheel-status", f"Window {played} of 200")

    page.until_text("wheel-panel", "is your grade")
    assert "best constant setting" in page.text("wheel-panel")
    assert len(page.driver.find_elements("css selector", "#wheel-files a.download")) == 2


def test_why_explains_a_window_and_walks_from_change_to_change(page):
    page.tab("Why?")
    page.until_text("why-view", "held back by")
    before = page.text("why-view")
    page.click("why-next")

    page.until(lambda: page.text("why-view") != before)
    assert "Knobs moved" in page.text("why-view")


def test_an_episode_can_be_replayed(page):
    page.tab("Why?")
    page.until_text("why-view", "held back by")
    page.click("why-replay")

    page.until_text("why-view", "Window 200: held back by")


def test_a_saved_episode_can_be_uploaded_and_explained(page, tmp_path):
    page.driver.find_elements("css selector", "#compare-files a.download")[0].click()
    page.until(lambda: bool(list(tmp_path.glob("*.jsonl"))))
    page.tab("Why?")
    page.until_text("why-view", "held back by")
    page.upload("why-upload", next(tmp_path.glob("*.jsonl")))

    page.until(lambda: "File: " in shown_episode(page))
    page.until_text("why-status", "200 windows")


def shown_episode(page):
    script = "return document.querySelector('#why-episode input').value"
    return page.driver.execute_script(script)


def test_a_file_that_is_no_episode_is_refused_with_a_reason(page, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"format": "other"}\n', encoding="utf-8")
    page.tab("Why?")
    page.until_text("why-view", "held back by")
    page.upload("why-upload", bad)

    page.until_text("why-status", "format must be 'llmserve-episode-1'")


def test_a_visitors_own_trace_is_played(page, tmp_path):
    mine = tmp_path / "mine.csv"
    rows = "".join(f"{0.5 * n},{200 + n % 7},{50 + n % 5}\n" for n in range(900))
    mine.write_text("timestamp_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    page.upload("compare-trace", mine)
    page.until_text("compare-trace-status", "900 requests")
    page.click("compare-run")

    page.until_text("compare-status", "Done: ")
    assert "your trace" in page.text("compare-status")
    assert "not graded" in page.text("compare-ranking")


def test_other_tasks_offer_their_own_kinds_of_traffic(page):
    page.choose("compare-task", "Static workload (easy)")
    page.choose("compare-traffic", "Static, Azure chat, not graded")
    page.click("compare-run")

    until_done(page, "Static, Azure chat")


def test_fidelity_names_errors_gates_and_limits(page):
    page.tab("Fidelity")
    page.until_text("fidelity-card", "TPOT")

    assert "below 4%: met" in page.text("fidelity-card")
    assert "no end-to-end runs" in page.text("fidelity-profiles")
    assert "Tensor parallel above 1" in page.text("fidelity-limits")
    assert len(page.driver.find_elements("css selector", "#fidelity-charts svg[role=img]")) == 1


def test_the_playground_is_the_second_tab(page):
    tabs = [tab.text for tab in page.driver.find_elements("css selector", "button[role=tab]")]

    assert tabs[:2] == ["LLMServe", "Playground"]


def test_the_playground_draws_the_observation_and_offers_settings(page):
    page.tab("Playground")
    buttons = page.driver.find_elements("tag name", "button")
    next(button for button in buttons if button.text.strip() == "Reset").click()

    page.until(lambda: "Best constant found" in page.driver.find_element("tag name", "body").text)
    assert "Held back by" in page.driver.find_element("tag name", "body").text


def test_two_visitors_do_not_see_each_others_episodes(server_url, tmp_path):
    with (
        chromium_page(server_url, tmp_path / "one") as one,
        chromium_page(server_url, tmp_path / "two") as two,
    ):
        one.open()
        two.open()
        one.fill("compare-seed", "101")
        two.fill("compare-seed", "202")
        one.click("compare-run")
        two.click("compare-run")
        one.until_text("compare-status", "Done: ")
        two.until_text("compare-status", "Done: ")
        one.tab("Why?")
        two.tab("Why?")
        one.until(lambda: "seed 101" in shown_episode(one))
        two.until(lambda: "seed 202" in shown_episode(two))

        assert "seed 202" not in one.text("why-status")
        assert "seed 101" not in two.text("why-status")


def test_nothing_is_fetched_from_anywhere_else(page):
    run_comparison(page, 44)
    for name in ("Take the wheel", "Why?", "Fidelity", "Playground"):
        page.tab(name)
        time.sleep(0.5)

    assert page.external_requests() == []


@pytest.mark.parametrize("tab", ["Compare agents", "Take the wheel", "Why?", "Fidelity"])
def test_nothing_sticks_out_on_a_phone(page, tab):
    page.resize(400, 860)
    page.open()
    page.tab(tab)
    time.sleep(1.0)

    assert page.widest() <= 400


# Of what can be seen: inputs without a label, charts without words, charts without a table.
WITHOUT_WORDS = """
    const shown = (selector) => [...document.querySelectorAll(selector)]
        .filter((found) => found.checkVisibility());
    const inputs = shown('input, select, textarea')
        .filter((input) => !input.getAttribute('aria-label') && !input.labels?.length);
    const charts = shown('svg[role=img]');
    return [
        shown('input').length,
        charts.length,
        inputs.map((input) => input.outerHTML),
        charts.filter((chart) => !chart.getAttribute('aria-label')).map((chart) => chart.outerHTML),
        charts.filter((chart) => !chart.closest('figure')?.querySelector('table'))
            .map((chart) => chart.getAttribute('aria-label')),
    ];"""


@pytest.mark.parametrize(
    ("tab", "charts"),
    [("Compare agents", 6), ("Take the wheel", 6), ("Why?", 7), ("Fidelity", 1), ("Playground", 0)],
)
def test_every_input_has_a_label_and_every_chart_words_and_a_table(page, tab, charts):
    page.tab(tab)
    if tab == "Take the wheel":
        page.click("wheel-start")
        page.until_text("wheel-status", "200 windows")
        page.click("wheel-one")
        page.until_text("wheel-status", "Window 1 of 200")
    page.until(lambda: page.driver.execute_script(WITHOUT_WORDS)[1] == charts)

    inputs, _, *without = page.driver.execute_script(WITHOUT_WORDS)
    assert inputs
    assert without == [[], [], []]


def test_a_comparison_is_chosen_and_started_from_the_keyboard(page):
    passed, are_seen = page.tab_until("compare-run")
    page.press(Keys.ENTER)

    assert list(dict.fromkeys(passed)) == [
        "compare-task",
        "compare-traffic",
        "compare-seed",
        "compare-trace",
        "compare-agents",
        "compare-run",
    ]
    assert are_seen
    page.until_text("compare-status", "Done: ")


def test_the_wheel_is_driven_from_the_keyboard(page):
    page.tab("Take the wheel")
    page.until(lambda: page.element("wheel-start").is_displayed())
    page.tab_until("wheel-start")
    page.press(Keys.ENTER)
    page.until_text("wheel-status", "200 windows")
    page.tab_until("knob-batch_cap")
    for _ in range(2):  # the number's reset button, and the slider
        page.press(Keys.TAB)
    page.press(Keys.ARROW_LEFT)
    passed, are_seen = page.tab_until("wheel-one")
    page.press(Keys.ENTER)
    page.until_text("wheel-status", "Window 1 of 200")

    assert "batch cap 256 \N{RIGHTWARDS ARROW} 255" in page.text("wheel-panel")
    assert "knob-quantization_tier" in passed
    assert are_seen


def test_an_episode_is_scrubbed_and_replayed_from_the_keyboard(page):
    page.tab("Why?")
    page.until_text("why-view", "held back by")
    page.tab_until("why-window")
    for _ in range(2):  # the number's reset button, and the slider
        page.press(Keys.TAB)
    page.press(Keys.HOME)
    page.until_text("why-view", "Window 1: held back by")
    page.press(Keys.ARROW_RIGHT)
    page.until_text("why-view", "Window 2: held back by")
    page.press(Keys.END)
    page.until_text("why-view", "Window 200: held back by")
    page.tab_until("why-replay")
    page.press(Keys.SPACE)
    page.until(lambda: "Window 200: held back by" not in page.text("why-view"))

    page.until_text("why-view", "Window 200: held back by")
