import pytest

from llmserve_env.errors import InvalidInputError, UnknownTaskError
from server.web.own_traces import OwnTraces
from server.web.race import Race
from server.web.traffic import (
    OWN,
    catalogue_of,
    chosen_task,
    preset_task,
    task_choices,
    task_of,
    traffic_choices,
)


def test_the_graded_tasks_can_be_chosen():
    assert [value for _, value in task_choices()] == [
        "static_workload",
        "bursty_workload",
        "adversarial_multitenant",
    ]


def test_a_task_is_offered_under_its_own_traffic_its_variants_and_every_preset():
    values = [value for _, value in traffic_choices("bursty_workload")]

    assert values[0] == OWN
    assert {"bursty_azure_code", "bursty_reasoning", "preset:azure_conv_2023"} <= set(values)
    assert "static_azure_conv" not in values


def test_every_traffic_on_offer_can_be_chosen():
    for _, value in traffic_choices("static_workload"):
        task = chosen_task("static_workload", value, 2.0)

        assert task.family == "static_workload"
        assert (task.variant_of is None) == (value == OWN)


def test_a_preset_task_is_found_again_by_its_id():
    task = preset_task("static_workload", "bailian_to_c", 2.5)

    assert task.task_id == "static_workload+bailian_to_c@2.5"
    assert task_of(task.task_id) == task
    assert catalogue_of(task).get(task.task_id) == task


@pytest.mark.parametrize("rate", [None, 0.0, 41.0, float("nan")])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(InvalidInputError, match=r"must be 0.1 to 40 requests per second"):
        chosen_task("static_workload", "preset:bailian_to_c", rate)


@pytest.mark.parametrize("task_id", ["nonsense", "nonsense+bailian_to_c@2", "static_workload+x"])
def test_unknown_tasks_are_refused(task_id):
    with pytest.raises(UnknownTaskError):
        task_of(task_id)


def test_a_rate_that_is_no_number_is_refused():
    with pytest.raises(InvalidInputError, match="got nan"):
        task_of("static_workload+bailian_to_c@fast")


def test_a_visitors_recording_is_played_on_the_tasks_deployment(tmp_path):
    source = tmp_path / "mine.csv"
    rows = "".join(f"{0.5 * n},{200 + n % 7},{50 + n % 5}\n" for n in range(900))
    source.write_text("timestamp_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    traces = OwnTraces()

    trace = traces.add(source)
    race = Race(traces.task("bursty_workload", trace.value), 0)
    race.join("vllm_default")
    race.advance(20)

    traces.close()
    assert not trace.path.exists()
    assert "mine.csv, 900 requests" in trace.label
    assert sum(window.arrived_requests for window in race.lanes[0].windows) == 40


def test_a_recording_that_is_not_here_is_refused():
    with pytest.raises(InvalidInputError, match="upload it again"):
        OwnTraces().task("bursty_workload", "mine:guessed")
