import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from scripts.build_perf_tables import PERF_DIRECTORY
from scripts.fit_step_times import (
    SERVING_FILE,
    fit_file,
    serving_text,
    steps_file,
    summary,
    table,
)
from scripts.measure_step_times import StepRow
from scripts.row_files import read_conditions_of, read_rows
from scripts.step_time_model import TERMS, Fit, fit
from scripts.tiny_deployment import FAST_PROFILE, PROFILE
from simulator.hardware import load_profile


def made_up(**values):
    constants = np.array([values.get(term, 0.0) for term in TERMS])
    return Fit(constants, constants, constants, np.zeros(0))


PROFILES = pytest.mark.parametrize("profile", [PROFILE, FAST_PROFILE])


@PROFILES
def test_what_is_shipped_is_what_the_shipped_rows_give(profile):
    rows = read_rows(steps_file(profile), StepRow)
    found = fit(rows, resamples=2)
    facts = summary(profile, rows, found, read_conditions_of(steps_file(profile)))
    shipped = json.loads(fit_file(profile).read_text(encoding="utf-8"))
    times = pq.read_table(PERF_DIRECTORY / f"{profile}.parquet").column("ms").to_numpy()
    expected = table(found, profile).column("ms").to_numpy()

    assert facts["constants"]["fixed"]["value"] == pytest.approx(
        shipped["constants"]["fixed"]["value"], rel=1e-3
    )
    assert facts["measured"] == shipped["measured"]
    np.testing.assert_allclose(times, expected, rtol=2e-3, atol=1e-7)


def test_the_api_takes_as_long_as_the_fit_says():
    found = fit(read_rows(steps_file(PROFILE), StepRow), resamples=2)

    assert load_profile(PROFILE).serving.api_s == pytest.approx(found.ms("api") / 1e3, rel=1e-3)


@PROFILES
def test_the_fit_misses_its_own_rows_by_a_tenth_at_most_on_average(profile):
    shipped = json.loads(fit_file(profile).read_text(encoding="utf-8"))

    errors = {kind: each["mean_absolute_error"] for kind, each in shipped["residuals"].items()}

    assert set(errors) == {"decode", "prefill", "mixed"}
    assert max(errors.values()) < 0.1


def test_the_table_has_the_form_of_the_others_and_names_where_it_comes_from():
    made = table(made_up(fixed=12.0, token=0.5, row=0.3, context=0.002, square=2e-4), PROFILE)

    assert made.column_names == ["kind", "tier", "x", "y", "ms"]
    assert made.schema.metadata[b"profile"] == b"cpu-tiny"
    assert b"measured by this project" in made.schema.metadata[b"origin"]
    assert made.schema.metadata[b"kernels"] == b"FP16=float32"
    assert made.to_pylist()[0] == {"kind": "gemm", "tier": "FP16", "x": 1, "y": 0, "ms": 12.5}


def test_the_api_time_alone_is_written_into_the_serving_file():
    facts = {
        "conditions": {"date": "2026-11-21"},
        "constants": {"api": {"value": 7.5, "low": 7.0, "high": 8.0}},
    }
    before = SERVING_FILE.read_text(encoding="utf-8")

    after = serving_text(before, facts)

    assert 'api_ms = { value = 7.5, source = "scripts.fit_step_times: 7.0 to 8.0' in after
    assert [line for line in after.splitlines() if "api_ms" not in line] == [
        line for line in before.splitlines() if "api_ms" not in line
    ]


def test_a_serving_file_without_the_line_is_refused():
    facts = {"conditions": {"date": ""}, "constants": {"api": {"value": 1, "low": 1, "high": 1}}}

    with pytest.raises(ValueError, match="api_ms stands on 0 lines"):
        serving_text("[host]\n", facts)
