"""Does a larger search find the recommended constant again? Writes a section of docs/recommend.md.

    python -m scripts.check_recommend --trace F.parquet [--trace ...] [--candidates 2048] [--write]

`llmserve recommend` draws 192 settings and improves the best three. Here ten times as many are
drawn and the best twelve improved. Both see earlier traffic
only; both choices are then judged on later traffic.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from agents.recommend.answer import setting
from agents.recommend.ask import Ask, draft_acceptance, parse_ask
from agents.recommend.constants import Candidate, ConstantSearch, strain
from agents.recommend.journal import Journal
from agents.recommend.study import Study
from agents.recommend.tallies import Blocks, saving, summarise
from agents.recommend.traffic import Traffic, divide
from agents.result_files import write_json, write_text
from server.recommend.verdict import setting_words
from simulator.traces import read_trace

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE, DATA = ROOT / "docs" / "recommend.md", ROOT / "docs" / "recommend.json"
BEGIN, END = "<!-- larger search:begin -->", "<!-- larger search:end -->"
STARTS: Final = 12


def searched(ask: Ask, traffic: Traffic, folder: Path, starts: int) -> ConstantSearch:
    """A search on earlier traffic, its best settings improved."""
    with Journal(folder / f"{ask.candidates}.jsonl", {"candidates": ask.candidates}) as journal:
        study = Study(ask, traffic, journal, library=folder)
        search = study.search()
        search.descend(search.best(starts))
        return search


def compare(trace: Path, ask: dict[str, Any], candidates: int) -> dict[str, Any]:
    """The usual search and a larger one on a trace."""
    small, large = parse_ask(ask), parse_ask(ask | {"candidates": candidates})
    traffic = divide(read_trace(trace), draft_acceptance(small.replica_gpus))
    found: dict[str, Any] = {"trace": trace.stem, "ask": small.model_dump(mode="json")}
    chosen: list[Candidate] = []
    with tempfile.TemporaryDirectory() as name:
        for label, question, starts in (("usual", small, 3), ("larger", large, STARTS)):
            begun = time.perf_counter()
            search = searched(question, traffic, Path(name), starts)
            chosen.append(search.best()[0])
            earlier = search.known[chosen[-1]]
            found[label] = {
                "settings": len(search.known),
                "seconds": time.perf_counter() - begun,
                "setting": setting(chosen[-1]),
                "earlier_usd_per_1k": earlier.usd_per_1k,
                "earlier_strain": strain(small, earlier),
            }
        later = [_later(small, traffic, candidate) for candidate in chosen]
    for label, blocks in zip(("usual", "larger"), later, strict=True):
        summary = summarise(blocks)
        found[label]["later_usd_per_1k"] = summary.usd_per_1k
        found[label]["later_strain"] = strain(small, summary)
    gained = saving(later[1], later[0])
    found["larger_saves"] = {"value": gained.value, "low": gained.low, "high": gained.high}
    return found


def _later(ask: Ask, traffic: Traffic, candidate: Candidate) -> Blocks:
    with tempfile.TemporaryDirectory() as name, Journal(Path(name) / "j", {}) as journal:
        study = Study(ask, traffic, journal, library=Path(name))
        return study.blocks(traffic.later, candidate)


def section(results: list[dict[str, Any]]) -> str:
    """The section of docs/recommend.md."""
    lines = [
        BEGIN,
        "Written by `python -m scripts.check_recommend --write`; numbers in `recommend.json`.",
        "p99: the larger of both over its objective; prices in $ per million output tokens.",
        "",
        "| trace, objectives | search | settings | best constant | earlier: price, p99 | "
        "later: price, p99 |",
        "|---|---|---|---|---|---|",
    ]
    for row in results:
        ask = row["ask"]
        memory = f", {ask['memory_gb']:g} GB" if ask["memory_gb"] else ""
        what = f"{row['trace']}, {ask['slo_ttft_p99_ms']:g} / {ask['slo_itl_p99_ms']:g} ms{memory}"
        for label in ("usual", "larger"):
            one = row[label]
            lines.append(
                f"| {what} | {label} | {one['settings']:,} | {setting_words(one['setting'])} | "
                f"{1e3 * one['earlier_usd_per_1k']:.4f}, {one['earlier_strain']:.2f} | "
                f"{1e3 * one['later_usd_per_1k']:.4f}, {one['later_strain']:.2f} |"
            )
    worst = max(abs(row["larger_saves"]["value"] or 0.0) for row in results)
    lines += [
        "",
        f"On later traffic the two choices differ in price by {worst:.1%} at most.",
        END,
    ]
    return "\n".join(lines)


def main() -> None:
    """Search twice on every trace; print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, action="append", required=True)
    parser.add_argument("--profile", default="a100-llama3-8b")
    parser.add_argument("--slo-ttft-p99", type=float, default=1_000.0)
    parser.add_argument("--slo-itl-p99", type=float, default=100.0)
    parser.add_argument("--memory-gb", type=float, action="append", help="also with so much")
    parser.add_argument("--candidates", type=int, default=2_048)
    parser.add_argument("--write", action="store_true", help="write docs/recommend.md and .json")
    arguments = parser.parse_args()
    base = {
        "profile": arguments.profile,
        "slo_ttft_p99_ms": arguments.slo_ttft_p99,
        "slo_itl_p99_ms": arguments.slo_itl_p99,
    }
    results = []
    for trace in arguments.trace:
        for memory_gb in (None, *(arguments.memory_gb or ())):
            ask = base | {"memory_gb": memory_gb}
            results.append(compare(trace, ask, arguments.candidates))
            print(json.dumps(results[-1], indent=1))
    if arguments.write:
        write_json(DATA, results)
        text = PAGE.read_text(encoding="utf-8")
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        write_text(PAGE, head + section(results) + tail)


if __name__ == "__main__":
    main()
