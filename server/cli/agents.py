"""`llmserve agents`: who can play."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from agents.registry import agent_entry, agent_names
from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen

BY_ARGUMENT: Final = {
    'constant:{"batch_cap": 64}': "One action throughout; knobs left out keep their default.",
    "ppo:FILE.npz": "A policy that train.py wrote.",
    "sb3:FILE.zip": "A policy of stable-baselines3, PPO or MaskablePPO; needs the extra `sb3`.",
    "llm:MODEL": "A language model behind OPENAI_BASE_URL, with OPENAI_API_KEY; extra `openai`.",
    "module:Class": "Your own class with reset(task, seed) and act(observation).",
}


def agents(as_json: AsJson = False) -> None:
    """List the agents that --agent and `llmserve compare` know by name."""
    entries = [agent_entry(name) for name in agent_names()]
    if as_json:
        known = [
            {
                "name": entry.name,
                "description": entry.description,
                "sees_future": entry.sees_future,
                "is_deterministic": entry.is_deterministic,
            }
            for entry in entries
        ]
        write_json({"agents": known, "by_argument": BY_ARGUMENT})
        return
    table = Table(title="Agents", title_justify="left")
    table.add_column("agent", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    for entry in entries:
        table.add_row(entry.name, entry.description)
    table.add_section()
    for name, description in BY_ARGUMENT.items():
        table.add_row(name, description)
    screen().print(table, markup=False)
