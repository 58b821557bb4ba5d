"""Results -> files: tables, figures, submissions, all numbers as JSON, and a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from agents.kept_rows import KeptRows
from agents.registry import agent_entry, agent_names
from agents.result_files import write_json, write_text, write_whole
from llmserve_env.charts.intervals import IntervalPanel, interval_picture
from llmserve_env.charts.profiles import Share, profile_picture
from llmserve_env.models import KNOBS
from llmserve_env.splits import split_of
from llmserve_env.submission_file import (
    FORMAT,
    Claim,
    Head,
    SubmittedEpisode,
    submission_lines,
)
from llmserve_env.tasks import shipped_catalogue
from server.bench.grid import Grid, Kept, rows_of
from server.bench.results import GRADED, TITLES, Group, Results
from server.bench.sheets import Sheet, ranked, sheets_of

# Whom the others are compared with in the figure, as far as they took part.
RIVALS: Final = ("best_constant", "reactive", "kv_rule", "ppo")
AXES: Final = {
    GRADED: "score of an episode (0 random, 0.5 best constant, 1 clairvoyant)",
    "variants": "raw score of an episode, less the best constant's",
}


def write_report(results: Results, kept: KeptRows[Kept], folder: Path) -> list[str]:
    """Write everything but the episodes to a folder and say which files."""
    sheets = sheets_of(results)
    texts = {f"tables/{each.name}.md": f"{each.markdown()}\n" for each in sheets}
    texts |= {f"tables/{each.name}.csv": each.csv() for each in sheets}
    texts |= {f"tables/{each.name}.tex": each.latex() for each in sheets}
    for group in results.groups:
        texts |= _figures(group)
    texts["README.md"] = page(results, sheets)
    for name, content in texts.items():
        write_text(folder / name, content)
    write_json(folder / "results.json", document(results))
    names = [*texts, "results.json"]
    for agent in results.grid.agents:
        names.append(f"submissions/{file_stem(agent)}.jsonl")
        write_whole(folder / names[-1], _writer(_submission(agent, results, kept)))
    return names


def _writer(lines: Iterator[bytes]) -> Callable[[BinaryIO], object]:
    return lambda file: file.writelines(lines)


def file_stem(agent: str) -> str:
    """A name for files about an agent: what is no letter, digit, dot or dash is left out."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", agent).strip("_.")[:80] or "agent"


def document(results: Results) -> dict[str, Any]:
    """All numbers, ready for JSON; the episodes by their scores alone."""
    grid = results.grid
    return {
        **about(grid),
        "agents": {
            name: {"digest": grid.digests[name], "description": agent_entry(name).description}
            for name in grid.agents
        },
        "tasks": {
            task_id: [asdict(row) for row in rows] for task_id, rows in results.summaries.items()
        },
        "groups": {group.name: _group_json(group) for group in results.groups},
    }


def about(grid: Grid) -> dict[str, Any]:
    """What a result is of."""
    return {
        "environment_version": shipped_catalogue().environment_version,
        "split": split_of(grid.seeds[0]),
        "seeds": list(grid.seeds),
    }


def page(results: Results, sheets: Sequence[Sheet]) -> str:
    """The tables and figures as a page of Markdown."""
    grid = results.grid
    head = (
        f"{len(grid.agents)} agents on {len(grid.task_ids)} tasks, {len(grid.seeds)} seeds of the "
        f"split `{split_of(grid.seeds[0])}` ({grid.seeds[0]} to {grid.seeds[-1]}), environment "
        f"{shipped_catalogue().environment_version}. Brackets hold 95 % bootstrap intervals."
    )
    absent = [name for name in agent_names() if name not in grid.agents]
    if absent:
        head += f" Ship and did not play: {', '.join(absent)}."
    parts = ["# Benchmark", head]
    scores = next(sheet for sheet in sheets if sheet.name == "scores")
    for group in results.groups:
        parts.append(f"## Over the {TITLES[group.name]}")
        for sheet in sheets:
            if sheet.name == f"aggregates_{group.name}":
                parts.append(sheet.markdown())
        parts += [f"![{name}](figures/{name}.svg)" for name in _figure_names(group)]
        for sheet in sheets:
            if sheet.name == f"improvement_{group.name}":
                parts.append(
                    f"Agent against agent: [tables/{sheet.name}.md](tables/{sheet.name}.md)"
                )
    parts += ["## Task by task", scores.markdown()]
    return "\n\n".join(parts) + "\n"


def _figure_names(group: Group) -> list[str]:
    return [f"{kind}_{group.name}" for kind in ("aggregates", "profiles", "improvement")]


def _figures(group: Group) -> dict[str, str]:
    agents = ranked(group)
    aggregates, profiles, improvement = _figure_names(group)
    columns = group.aggregates[agents[0]]
    points = [
        IntervalPanel(
            column.replace("_", " "),
            {name: _interval(found[column]) for name, found in group.aggregates.items()},
        )
        for column in columns
    ]
    against = [
        IntervalPanel(
            f"better than {rival}",
            {
                name: _interval(found[rival])
                for name, found in group.improvement.items()
                if name != rival
            },
            level=0.5,
        )
        for rival in RIVALS
        if rival in agents
    ]
    shares = {
        name: Share(found.share, found.low, found.high) for name, found in group.profiles.items()
    }
    thresholds = group.profiles[agents[0]].thresholds
    pictures = {
        aggregates: interval_picture(f"All {group.name}, 95 % intervals", agents, points),
        profiles: profile_picture(
            f"Performance profiles, {group.name}", AXES[group.name], thresholds, shares
        ),
    }
    if against:
        title = f"Probability of improvement, {group.name}"
        pictures[improvement] = interval_picture(title, agents, against)
    return {f"figures/{name}.svg": content for name, content in pictures.items()}


def _interval(estimate: Any) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "tasks": list(group.task_ids),
        "scale": TITLES[group.name],
        "episode_scores": {name: values.tolist() for name, values in group.scores.items()},
        "aggregates": _nested(group.aggregates),
        "probability_of_improvement": _nested(group.improvement),
        "wins_on_the_same_traffic": _nested(group.wins),
        "profiles": {name: asdict(found) for name, found in group.profiles.items()},
    }


def _nested(found: Any) -> dict[str, Any]:
    return {
        name: {key: asdict(estimate) for key, estimate in row.items()}
        for name, row in found.items()
    }


def _submission(agent: str, results: Results, kept: KeptRows[Kept]) -> Iterator[bytes]:
    grid = results.grid
    own = {
        task_id: next(row for row in rows if row.agent == agent)
        for task_id, rows in results.summaries.items()
    }
    head = Head(
        format=FORMAT,
        agent=agent,
        environment_version=shipped_catalogue().environment_version,
        sees_future=agent in results.seers(),
        knobs=list(KNOBS),
        episodes=len(grid.task_ids) * len(grid.seeds),
        claims={
            task_id: Claim(raw_score=row.raw.value, score=row.score_unclipped)
            for task_id, row in own.items()
        },
    )
    only = replace(grid, agents=(agent,))
    fields = SubmittedEpisode.model_fields
    episodes = (
        SubmittedEpisode(**{name: row[name] for name in fields}) for row in rows_of(only, kept)
    )
    return submission_lines(head, episodes)
