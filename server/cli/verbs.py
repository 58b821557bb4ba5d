"""The table of verbs: their names, where each is, and what it does in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the command.

    Attributes:
        name: As it is typed.
        target: "module:attribute": a function, or a typer.Typer for verbs of verbs.
        summary: What `llmserve --help` says; shown without importing the module.
    """

    name: str
    target: str
    summary: str


VERBS: Final = (
    Verb("demo", "server.cli.demo:demo", "A heuristic against a trained policy, live."),
    Verb("play", "server.cli.play:play", "Take the wheel against an agent's ghost."),
    Verb("serve", "server.cli.serve:serve", "The server: OpenEnv's API and the web page."),
    Verb("run", "server.cli.run:run", "One agent plays one episode, here or on a server."),
    Verb("compare", "server.cli.compare:compare", "Several agents on the same traffic."),
    Verb("grade", "server.cli.grade:grade", "The grade of a saved episode."),
    Verb("doctor", "server.cli.doctor:doctor", "Is a server well, and of this version?"),
    Verb("tasks", "server.cli.tasks:tasks", "The tasks and variants that can be played."),
    Verb(
        "profiles", "server.cli.profiles:profiles", "The GPU profiles, and how far to trust each."
    ),
    Verb("agents", "server.cli.agents:agents", "The agents that can play them."),
    Verb("bench", "server.cli.bench:bench", "Agents x tasks x seeds, compared as papers do."),
    Verb("validate", "server.cli.validate:validate", "Executes a submission's actions again."),
    Verb("mcp", "server.cli.mcp:mcp", "The environment as MCP tools on stdin and stdout."),
    Verb("trace", "server.cli.trace:trace", "Your own traffic: import, stats, list, fit."),
    Verb("recommend", "server.cli.recommend:recommend", "A trace and objectives -> settings."),
    Verb("calibrate", "server.cli.calibrate:calibrate", "A profile fitted to your own server."),
    Verb("autopilot", "server.cli.autopilot:autopilot", "A policy runs a live vLLM server."),
)
