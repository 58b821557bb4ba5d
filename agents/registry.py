"""Every agent by name, and agents of other people's modules by `module:Class`."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Final

from agents.aimd import AimdAgent
from agents.base import Agent, AgentEntry
from agents.clairvoyant import ClairvoyantAgent
from agents.dynamic_sd import DynamicSdAgent
from agents.heuristic import HeuristicAgent
from agents.kv_rule import KvRuleAgent
from agents.llm_agent import LlmAgent
from agents.llm_client import OpenAIChat
from agents.llm_settings import DEFAULT_MODEL, LlmSettings
from agents.mpc import MpcAgent
from agents.ppo.agent import GENERALIST, WEIGHTS, PpoAgent
from agents.reactive import ReactiveAgent
from agents.recommend.policy_file import policy_agent, read_policy
from agents.sb3 import Sb3Agent
from agents.simple import BestConstantAgent, ConstantAgent, RandomAgent
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue

CONSTANT: Final = "constant"
LLM: Final = "llm"
PPO: Final = "ppo"
SB3: Final = "sb3"
POLICY: Final = "policy"
_ENTRIES: Final = (
    AgentEntry(
        name="random",
        description="Every knob anew each window, uniformly from the task's levels.",
        make=RandomAgent,
        is_deterministic=False,
    ),
    AgentEntry(
        name="vllm_default",
        description="vLLM's defaults throughout.",
        make=ConstantAgent,
    ),
    AgentEntry(
        name="best_constant",
        description="The best constant action that a search on training seeds found.",
        make=BestConstantAgent,
    ),
    AgentEntry(
        name="heuristic",
        description="Rules from the literature (Orca, vLLM, Decima), none tuned.",
        make=HeuristicAgent,
    ),
    AgentEntry(
        name="aimd",
        description="Batch cap by additive increase and multiplicative decrease on latency.",
        make=AimdAgent,
    ),
    AgentEntry(
        name="dynamic_sd",
        description="vLLM's speculation depth by batch size, the rest default.",
        make=DynamicSdAgent,
    ),
    AgentEntry(
        name="reactive",
        description="Thresholds on a smoothed load, tuned per task on training seeds.",
        make=ReactiveAgent,
    ),
    AgentEntry(
        name="kv_rule",
        description="The best fixed setting whose KV budget follows the need by one tuned rule.",
        make=KvRuleAgent,
    ),
    AgentEntry(
        name="mpc",
        description="Plans on twins of the deployment, fed with what was seen, and on forecasts.",
        make=MpcAgent,
    ),
    AgentEntry(
        name="clairvoyant",
        description="Plans the whole episode knowing every request to come: a bound, not a rival.",
        make=ClairvoyantAgent,
        sees_future=True,
    ),
)
# Listed only where their weights lie: a clone that has not trained any has no such agents.
_SPECIALIST: Final = AgentEntry(
    name=PPO,
    description="Trained by PPO, a policy of its own for every task.",
    make=PpoAgent,
)
_GENERALIST: Final = AgentEntry(
    name="ppo_generalist",
    description="Trained by PPO, one policy for all tasks.",
    make=lambda: PpoAgent(GENERALIST),
)


def agent_names() -> tuple[str, ...]:
    """The names of the agents that need no argument; policies only if their weights are there."""
    return tuple(_by_name())


def agent_entry(name: str) -> AgentEntry:
    """The agent of this name: one of agent_names(), or one with a colon.

    - `constant:JSON`: an object of knobs; those left out keep the task's default.
    - `ppo:FILE.npz`: what train.py wrote.
    - `sb3:FILE.zip`: what `save` of stable-baselines3's PPO or of MaskablePPO wrote.
    - `policy:FILE.json`: what `llmserve recommend` wrote.
    - `llm:MODEL`, or `llm` for the usual model: asks a language model, with OPENAI_API_KEY and
      OPENAI_BASE_URL. It is never listed: asking costs money.
    - `module:Class`: made without arguments, with `reset` and `act`, as base.Agent says.

    The last two run what they hold: name only files and modules that you trust.

    Raises:
        InvalidInputError: If the name stands for nothing, naming what exists.
    """
    known = _by_name()
    if name in known:
        return known[name]
    kind, colon, argument = name.partition(":")
    if colon and kind == CONSTANT:
        return _constant_entry(name, argument)
    if colon and kind == PPO:
        return _ppo_entry(name, Path(argument))
    if colon and kind == SB3:
        return _sb3_entry(name, Path(argument))
    if colon and kind == POLICY:
        return _policy_entry(name, Path(argument))
    if kind == LLM:
        return _llm_entry(name, argument or DEFAULT_MODEL)
    if colon:
        return _imported_entry(name, kind, argument)
    raise InvalidInputError(
        f"unknown agent {name!r}; known agents: {', '.join(known)}, "
        f'{CONSTANT}:JSON as in {CONSTANT}:{{"batch_cap": 64}}, {PPO}:FILE.npz, '
        f"{SB3}:FILE.zip, {POLICY}:FILE.json, {LLM}:MODEL, or module:Class"
    )


def make_agent(name: str) -> Agent:
    """A new agent, ready for its first reset.

    Raises:
        InvalidInputError: If the name stands for nothing, naming what exists.
    """
    return agent_entry(name).make()


def _by_name() -> dict[str, AgentEntry]:
    specialists = [WEIGHTS / f"{task.task_id}.npz" for task in shipped_catalogue().tasks]
    trained = [
        entry
        for entry, files in ((_SPECIALIST, specialists), (_GENERALIST, [GENERALIST]))
        if all(file.exists() for file in files)
    ]
    return {entry.name: entry for entry in (*_ENTRIES, *trained)}


def _constant_entry(name: str, text: str) -> AgentEntry:
    try:
        knobs = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"agent {name!r}: no JSON after the colon: {error}") from error
    if not isinstance(knobs, dict):
        raise InvalidInputError(f"agent {name!r}: need an object of knobs, got {text}")
    return AgentEntry(
        name=name,
        description="One action throughout.",
        make=lambda: ConstantAgent(knobs),
    )


def _ppo_entry(name: str, file: Path) -> AgentEntry:
    return AgentEntry(
        name=name, description=f"The PPO policy in {file}.", make=lambda: PpoAgent(file)
    )


def _sb3_entry(name: str, file: Path) -> AgentEntry:
    return AgentEntry(
        name=name,
        description=f"The policy of stable-baselines3 in {file}.",
        make=lambda: Sb3Agent(file),
    )


def _policy_entry(name: str, file: Path) -> AgentEntry:
    policy = read_policy(file)
    return AgentEntry(
        name=name,
        description=f"{policy.name}, recommended in {file}.",
        make=lambda: policy_agent(policy, make_agent),
    )


def _llm_entry(name: str, model: str) -> AgentEntry:
    return AgentEntry(
        name=name,
        description=f"The language model {model}, asked every few windows.",
        make=lambda: LlmAgent(OpenAIChat(model, LlmSettings())),
        is_deterministic=False,
    )


def _imported_entry(name: str, module: str, attribute: str) -> AgentEntry:
    try:
        loaded = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise InvalidInputError(
            f"agent {name!r}: cannot import module {module!r}: {error}"
        ) from error
    made = getattr(loaded, attribute, None)
    if not callable(made):
        raise InvalidInputError(f"agent {name!r}: module {module!r} has no class {attribute!r}")
    missing = [method for method in ("reset", "act") if not hasattr(made, method)]
    if missing:
        raise InvalidInputError(
            f"agent {name!r}: {attribute} has no {' and no '.join(missing)}; an agent has reset "
            f"and act"
        )
    return AgentEntry(
        name=name,
        description=f"{attribute} of {module}.",
        make=made,
        is_deterministic=False,
    )
