"""`llmserve recommend` as it is typed, on a made-up trace of ten minutes."""

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from agents.registry import make_agent
from llmserve_env.traces import use_traces_folder
from server.cli.main import app
from tests.recommend_traffic import write_trace

ROOT = Path(__file__).resolve().parents[1]
# Flags that `vllm serve --help=all` of 0.32.0 lists.
VLLM_FLAGS = {
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--max-model-len",
    "--kv-cache-memory-bytes",
    "--scheduling-policy",
    "--speculative-config",
    "--data-parallel-size",
    "--quantization",
    "--enable-sleep-mode",
    "--kv-transfer-config",
    "--port",
}
FILES = {
    "report.html",
    "report.json",
    "policy.json",
    "schedule.json",
    "vllm_serve.sh",
    "progress.jsonl",
}


def options(trace, out, **changed):
    given = {
        "trace": trace,
        "profile": "a100-llama3-8b",
        "slo-ttft-p99": 800,
        "slo-itl-p99": 120,
        "memory-gb": 24,
        "candidates": 8,
        "out": out,
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    words = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    return ["recommend", *words, "--no-planner"]


def called(trace, out, *flags, **changed):
    return CliRunner().invoke(app, [*options(trace, out, **changed), *flags])


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return write_trace(tmp_path_factory.mktemp("trace") / "mine.parquet")


@pytest.fixture(scope="module")
def answered(trace, tmp_path_factory):
    """An answer: its folder, and what was written to stdout as JSON."""
    out = tmp_path_factory.mktemp("answer") / "report"
    result = called(trace, out, "--json")
    use_traces_folder(None)
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_an_answer_is_a_folder_of_files_and_json_on_stdout(answered):
    out, document = answered

    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "report.json").read_text()) == document


def test_the_best_constant_holds_and_costs_less_than_the_default(answered):
    _, document = answered

    best = document["constant"]
    assert best["holds_earlier"]
    assert best["earlier"]["p99_ttft_ms"] <= 0.9 * 800
    assert best["saving_over_default"]["value"] > 0.2
    assert document["default"]["setting"]["batch_cap"] == 256


def test_it_says_what_adapting_saves_with_an_interval_even_if_nothing(answered):
    _, document = answered

    named = {row["name"]: row for row in document["policies"]}
    assert {"heuristic", "reactive"} < set(named)
    assert all(row["saving"]["low"] <= row["saving"]["high"] for row in named.values())
    assert document["adapting_pays"] in (True, False)


def test_every_setting_of_the_front_is_dearer_and_easier_than_the_one_before(answered):
    _, document = answered

    front = document["front"]
    prices = [row["earlier_usd_per_1k"] for row in front]
    strains = [row["earlier_strain"] or float("inf") for row in front]
    assert prices == sorted(prices)
    assert strains == sorted(strains, reverse=True)


def test_the_policy_is_an_agent_that_plays(answered):
    out, document = answered

    agent = make_agent(f"policy:{out / 'policy.json'}")

    assert json.loads((out / "policy.json").read_text())["kind"] == document["policy"]["kind"]
    assert hasattr(agent, "act")


def test_the_flags_are_those_of_vllm(answered):
    out, document = answered

    (command,) = document["vllm_serve"]
    flags = {word for word in command.split() if word.startswith("--")}
    setting = document["constant"]["setting"]
    assert flags <= VLLM_FLAGS
    assert f"--max-num-seqs {setting['batch_cap']}" in command
    assert subprocess.run(["sh", "-n", str(out / "vllm_serve.sh")], check=False).returncode == 0


class Page(HTMLParser):
    """Collects what a browser would fetch, and whether tags close."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.pictures = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.pictures += tag == "svg"
        self.fetched += [v for k, v in attributes if k in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, _, attributes):
        self.fetched += [v for k, v in attributes if k in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_whole_and_fetches_nothing(answered):
    out, _ = answered
    text = (out / "report.html").read_text()

    page = Page()
    page.feed(text)

    assert page.open == []
    assert page.fetched == []
    assert page.pictures >= 6
    assert "How far to trust this" in text
    assert "None" not in text
    for part in text.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")


def test_a_run_that_was_killed_goes_on_and_ends_alike(answered, trace, tmp_path):
    out, journal = tmp_path / "report", tmp_path / "report" / "progress.jsonl"
    killed = subprocess.Popen(
        [sys.executable, "-m", "llmserve_env", *options(trace, out)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    for _ in range(1_200):
        if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = journal.read_bytes().splitlines()[:3]
    assert not (out / "report.json").exists()

    result = called(trace, out)

    assert result.exit_code == 0, result.output
    assert journal.read_bytes().splitlines()[:3] == before
    assert json.loads((out / "report.json").read_text()) == answered[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slo_ttft_p99": 0}, "--slo-ttft-p99: Input should be greater than or equal to 1, got 0"),
        ({"slo_itl_p99": 9e9}, "--slo-itl-p99: Input should be less than or equal to 5000"),
        ({"gpus": 0}, "--gpus: Input should be greater than or equal to 1, got 0"),
        ({"profile": "b42"}, "unknown profile 'b42'; known profiles: a100-llama3-8b"),
        ({"memory_gb": 400}, "--memory-gb: NVIDIA A100-SXM4-80GB has 80, got 400"),
        ({"memory_gb": 5}, "--memory-gb 5: the weights of no tier"),
        ({"trace": "nowhere.csv"}, "--trace nowhere.csv: no such file"),
        ({"trace": "trace:nobody"}, "unknown trace 'nobody'"),
        ({"switching": "never"}, "--switching: Input should be 'standby', 'warm' or 'cold'"),
    ],
)
def test_wrong_input_is_one_line_on_stderr(trace, tmp_path, changed, message):
    result = called(changed.pop("trace", trace), tmp_path / "report", **changed)

    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_recording_without_output_lengths_is_refused(tmp_path):
    recording = tmp_path / "log.csv"
    recording.write_text("timestamp_s,prompt_tokens\n0,5\n1,6\n")

    result = called(recording, tmp_path / "report")

    assert result.exit_code == 2
    assert "output_tokens" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_folder_that_is_a_file_is_refused(trace, tmp_path):
    (tmp_path / "taken").write_text("mine")

    result = called(trace, tmp_path / "taken")

    assert result.exit_code == 2
    assert "taken" in result.stderr
    assert (tmp_path / "taken").read_text() == "mine"


def test_other_options_in_the_same_folder_are_refused(answered, trace):
    result = called(trace, answered[0], gpus=2)

    assert result.exit_code == 2
    assert "gpus 1 -> 2" in result.stderr
    assert "--fresh" in result.stderr
