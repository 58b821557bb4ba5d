"""`llmserve trace` as it is typed: import, stats, list, fit."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmserve_env.traces import use_traces_folder
from server.cli.main import app
from tests import trace_recordings as recordings


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSERVE_TRACES_DIR", str(tmp_path / "traces"))
    yield tmp_path / "traces"
    use_traces_folder(None)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "my log.csv"
    path.write_text(recordings.AZURE_2023)
    return path


def called(*arguments):
    return CliRunner().invoke(app, ["trace", *map(str, arguments)])


def answer(*arguments):
    result = called(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_an_import_is_named_after_its_file_and_says_how_to_play_it(folder, recording):
    document = answer("import", recording, "--licence", "CC-BY-4.0")

    assert document["task_id"] == "trace:my_log"
    assert document["path"] == str(folder / "my_log.parquet")
    assert document["card"]["licence"] == "CC-BY-4.0"
    assert document["stats"]["requests"] == 3


def test_an_import_shows_statistics_and_pictures(recording):
    result = called("import", recording, "--name", "mine")

    assert result.exit_code == 0
    assert "dispersion (1 = Poisson)" in result.stdout
    assert "3 of 3 requests; left out: none" in result.stdout
    assert "play it as task trace:mine" in result.stdout
    assert result.stderr == ""


def test_a_name_that_is_taken_is_kept_unless_asked(recording):
    answer("import", recording, "--name", "mine")

    refused = called("import", recording, "--name", "mine")
    replaced = called("import", recording, "--name", "mine", "--replace")

    assert refused.exit_code == 2
    assert "--replace" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert replaced.exit_code == 0


def test_a_broken_file_is_one_line_on_stderr(tmp_path):
    broken = tmp_path / "broken.csv"
    broken.write_text("timestamp_s,prompt_tokens,output_tokens\n0,1,1\n1,x,1\n")

    result = called("import", broken)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "llmserve: broken.csv, line 3: prompt_tokens must be a whole number from 0 to 2147483647, "
        "got 'x'\n"
    )


def test_a_file_can_be_written_anywhere_by_its_owner(tmp_path, recording):
    out = tmp_path / "elsewhere" / "x.parquet"

    document = answer("import", recording, "--out", out)

    assert document["task_id"] is None
    assert answer("stats", out)["stats"]["requests"] == 3


def test_statistics_are_drawn_as_a_picture(tmp_path, recording):
    answer("import", recording, "--name", "mine")

    result = called("stats", "mine", "--svg", tmp_path / "mine.svg")

    picture = (tmp_path / "mine.svg").read_text()
    assert result.exit_code == 0
    assert picture.startswith("<svg")
    assert "Requests per second over the trace" in picture


def test_an_unknown_name_lists_the_known(recording):
    answer("import", recording, "--name", "mine")

    result = called("stats", "yours")

    assert result.exit_code == 2
    assert "unknown trace 'yours'; imported and fitted: mine" in result.stderr


def test_the_list_has_imports_and_presets_and_tells_what_is_broken(folder, recording):
    answer("import", recording, "--name", "mine")
    (folder / "bad.parquet").write_text("no parquet")

    document = answer("list")

    bad, mine = document["traces"]
    assert (bad["task_id"], bad["kind"]) == ("trace:bad", "broken")
    assert (mine["task_id"], mine["kind"], mine["requests"]) == ("trace:mine", "trace", 3)
    assert "azure_conv_2023" in [each["name"] for each in document["presets"]]


def test_the_list_is_shown_where_there_is_no_trace():
    result = called("list")

    assert result.exit_code == 0
    assert "No trace yet" in result.stdout


@pytest.mark.slow
def test_a_fit_becomes_a_task_and_shows_its_check(folder, tmp_path):
    times = np.cumsum(np.random.default_rng(0).exponential(0.5, 600))
    columns = {"timestamp_s": times, "prompt_tokens": np.arange(600) + 1, "output_tokens": 9}
    pd.DataFrame(columns).to_parquet(tmp_path / "mine.parquet")
    answer("import", tmp_path / "mine.parquet")

    document = answer("fit", "mine")

    assert document["task_id"] == "trace:mine-fit"
    assert (folder / "mine-fit.json").is_file()
    assert "dispersion, 1 s" in [row["quantity"] for row in document["check"]]
    assert answer("list")["traces"][1]["kind"] == "fit"
