"""The same arrivals on a real server and in the simulator; writes docs/sim_to_real.md and .json.

    .venv/bin/python -m scripts.replay_on_both measure --block 1     about four minutes each
    .venv/bin/python -m scripts.replay_on_both measure --block 2
    .venv/bin/python -m scripts.replay_on_both report                needs no server

`measure` plays runs on a vLLM with the project's plugin (scripts/serve_vllm_cpu.sh) and keeps them
in simulator/data/measured/cpu_tiny_runs.csv and cpu_tiny_requests.csv. Between any two runs that
are to be predicted stands a probe, a short run of its own, which tells how slow the machine is just
then. `report` replays the recorded arrivals in the simulator; no predicted run is used in the fit
of the profile or of a factor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from agents.result_files import write_json, write_text
from llmserve_env.errors import LLMServeError
from scripts.fit_step_times import MEASURED
from scripts.replayed_runs import RequestRow, RunRow
from scripts.row_files import conditions_path, read_conditions_of, read_rows, write_rows
from scripts.run_on_server import Played, RunPlan, connected, play_all
from scripts.server_facts import read_conditions
from scripts.sim_to_real_report import compare, page

ROOT: Final = Path(__file__).parent.parent
RUNS_FILE: Final = MEASURED / "cpu_tiny_runs.csv"
REQUESTS_FILE: Final = MEASURED / "cpu_tiny_requests.csv"
PAGE: Final = ROOT / "docs" / "sim_to_real.md"
RESULTS: Final = ROOT / "docs" / "sim_to_real.json"
RANKING: Final = ROOT / "docs" / "sim_to_real_ranking.json"
RUN_S: Final = 18.0
PROBE_S: Final = 8.0
PROBE: Final = ("poisson", 2.0, 16)  # family, rate, batch cap
# (family, mean rate, batch cap, KV budget) of the runs that are predicted.
HELD_OUT: Final = (
    (
        ("poisson", 0.5, 1, 1.0),
        ("poisson", 1.5, 4, 1.0),
        ("bursts", 2.0, 8, 1.0),
        ("poisson", 2.0, 16, 1.0),
        ("bursts", 2.0, 64, 1.0),
        ("poisson", 3.0, 16, 1.0),
    ),
    (
        ("poisson", 2.5, 8, 1.0),
        ("bursts", 1.5, 4, 1.0),
        ("poisson", 2.5, 64, 1.0),
        ("bursts", 2.5, 16, 1.0),
        ("poisson", 2.5, 64, 0.1),
        ("poisson", 3.5, 32, 1.0),
    ),
)
_SEED: Final = 7_000  # of the traffic; probes and predicted runs share none

Kind = TypeVar("Kind")


def plans(block: int) -> Iterator[RunPlan]:
    """The runs of a block: a probe, then a run and a probe in turn."""
    family, rate, cap = PROBE
    seed = _SEED * block
    yield RunPlan("probe", family, rate, PROBE_S, seed, cap)
    for number, (run_family, run_rate, run_cap, kv) in enumerate(HELD_OUT[block - 1], start=1):
        yield RunPlan("held_out", run_family, run_rate, RUN_S, seed + 2 * number, run_cap, kv)
        yield RunPlan("probe", family, rate, PROBE_S, seed + 2 * number + 1, cap)


async def measure(options: argparse.Namespace) -> Played:
    """The runs of a block, played on the server."""
    runs = _read_if_there(RUNS_FILE, RunRow)
    first = 1 + max((run.run for run in runs), default=0)
    async with connected(options.url, options.control, options.model) as server:
        return await play_all(server, list(plans(options.block)), first)


def keep(played: Played, conditions: dict[str, Any]) -> None:
    """Add runs to the files."""
    runs = [*_read_if_there(RUNS_FILE, RunRow), *played.runs]
    requests = [*_read_if_there(REQUESTS_FILE, RequestRow), *played.requests]
    write_rows(RUNS_FILE, [asdict(run) for run in runs], conditions)
    write_rows(REQUESTS_FILE, [asdict(request) for request in requests], conditions)


def report() -> int:
    """Write the page and the results; 1 if a target is missed."""
    runs, requests = read_rows(RUNS_FILE, RunRow), read_rows(REQUESTS_FILE, RequestRow)
    results = compare(runs, requests) | {"conditions": read_conditions_of(RUNS_FILE)}
    ranking = json.loads(RANKING.read_text(encoding="utf-8")) if RANKING.exists() else None
    text = page(results, ranking)
    write_json(RESULTS, results)
    write_text(PAGE, text)
    print(text)
    return int(not all(gate["is_met"] for gate in results["gates"]))


def _read_if_there(path: Path, kind: type[Kind]) -> Sequence[Kind]:
    return read_rows(path, kind) if path.exists() and conditions_path(path).exists() else []


def main() -> int:
    """The exit status: 1 if `report` finds a target missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("measure", "report"))
    parser.add_argument("--block", type=int, choices=(1, 2), default=1)
    parser.add_argument("--url", default="http://127.0.0.1:8300/v1")
    parser.add_argument("--control", default="http://127.0.0.1:8301")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--note", default="", help="conditions that the server does not tell")
    options = parser.parse_args()
    if options.what == "report":
        return report()
    try:
        played = asyncio.run(measure(options))
    except (LLMServeError, ValueError) as error:
        parser.error(str(error))
    keep(played, read_conditions(options.url, options.note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
