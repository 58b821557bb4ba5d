import pytest

from agents.parallel import Workers
from scripts.search_tools import crew
from tests.builders import task


def halve(_task, _seeds, candidate):
    return candidate / 2.0


@pytest.mark.slow
def test_a_crew_scores_in_order_and_counts_windows():
    with crew(Workers(2)) as workers:
        scores = workers.scores(halve, task(windows=10), (0, 1, 2), list(range(20)), label="x")

    assert scores == [0.5 * number for number in range(20)]
    assert workers.windows == 20 * 3 * 10
