"""Turns docs/headroom.json into the anchors of the grader: grader/data/reference_scores.json.

    uv run python -m scripts.make_reference_scores

Run scripts/measure_headroom.py first: its numbers are the only source.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from agents.result_files import write_text
from grader.references import ReferenceScores, parse_references
from llmserve_env.tasks import shipped_catalogue
from scripts.headroom_report import task_reference
from scripts.measure_headroom import RESULTS, ROOT, read_results

REFERENCES: Final = ROOT / "grader" / "data" / "reference_scores.json"


def reference_text(results: dict[str, Any]) -> str:
    """The file's content, from results of measure_headroom; the grader's own reader has read it.

    Raises:
        ValueError: If the results are of another environment version or other tasks, or an anchor
            lies on the wrong side of the best constant action.
    """
    references = ReferenceScores(
        environment_version=results["environment_version"],
        split=results["split"],
        episodes=len(results["seeds"]),
        tasks={task_id: task_reference(results, task_id) for task_id in results["tasks"]},
    )
    text = references.model_dump_json(indent=1) + "\n"
    parse_references(text, shipped_catalogue())
    return text


def main(source: Path = RESULTS, target: Path = REFERENCES) -> int:
    """Write the anchors; 1 if the results do not make any."""
    try:
        write_text(target, reference_text(read_results(source)))
    except (ValueError, FileNotFoundError) as error:
        print(f"make_reference_scores: {error}", file=sys.stderr)
        return 1
    print(f"wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
