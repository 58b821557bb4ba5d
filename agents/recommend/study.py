"""A study: settings searched on earlier traffic, rules tuned to it, all of it judged on later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from agents.base import Agent
from agents.knobs import KnobMenu
from agents.mpc import MpcAgent
from agents.recommend.adaptive import rate_edges_rps, tuned_kv_rule, tuned_schedule
from agents.recommend.ask import FIRST_TOKEN_BUDGET, HOT, Ask, allowed_tiers, study_task
from agents.recommend.constants import STARTS, Candidate, ConstantSearch, rank, with_knob
from agents.recommend.drivers import AgentDriver, KvRuleDriver, ScheduleDriver
from agents.recommend.journal import Journal, blocks_of, blocks_text
from agents.recommend.policy_file import PolicyFile
from agents.recommend.stage import Driver, Stage
from agents.recommend.tallies import Blocks, Summary, as_row, from_row, summarise
from agents.recommend.traffic import MOST_EARLIER, MOST_LATER, WINDOWS, Part, Traffic, stretches
from agents.registry import agent_names, make_agent
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import KNOBS, QuantizationTier, ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.deployment import StepCosts, build_deployment
from simulator.hardware import load_profile

CHUNK: Final = 32
# Agents of the registry that are played as they come, none tuned to the trace.
SHIPPED: Final = ("heuristic", "reactive", "ppo_generalist")
WARM: Final = ("quantization_tier", "prefill_decode_split")

Given = TypeVar("Given")
OnStep = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy that takes part.

    Attributes:
        policy: As it is written to policy.json.
        make: Makes its driver.
        tuned: Whether it was tuned to the earlier traffic.
        earlier: What it amounts to there.
        later: And on later traffic.
    """

    policy: PolicyFile
    make: Callable[[], Driver]
    tuned: bool
    earlier: Blocks
    later: Blocks


class Study:
    """Everything that is played for an answer, each step of it kept in a journal."""

    def __init__(
        self,
        ask: Ask,
        traffic: Traffic,
        journal: Journal,
        *,
        library: Path,
        threads: int = 2,
        on_step: OnStep = lambda _: None,
    ) -> None:
        """Take the question and the traffic.

        Args:
            ask: The question.
            traffic: The trace, cut in two.
            journal: Where steps are kept.
            library: A parquet trace of the earlier traffic.
            threads: How many play.
            on_step: Called before every piece of work with what it is.

        Raises:
            InvalidInputError: If the deployment cannot be built.
        """
        self.ask, self.traffic, self.windows_played = ask, traffic, 0
        self._journal, self._library = journal, str(library)
        self._threads, self._on_step = threads, on_step
        self._stages: dict[Any, Stage] = {}
        self.profile = load_profile(ask.profile)
        self.tiers = self._fitting_tiers()
        self.default = Candidate(FIRST_TOKEN_BUDGET, vllm_default(self.tiers[0]))
        self.active = self._active_knobs()

    def search(self) -> ConstantSearch:
        """Constants on earlier traffic: drawn all over, then the best improved."""
        task = self._task(FIRST_TOKEN_BUDGET, self.default.action, self.active)
        search = ConstantSearch(
            self.ask, KnobMenu(task), self.tiers, partial(self.summaries, self.traffic.earlier)
        )
        per_tier = [with_knob(self.default, "quantization_tier", tier) for tier in self.tiers]
        search.screen(per_tier)
        search.descend(search.best(STARTS))
        return search

    def summaries(
        self,
        part: Part,
        candidates: Sequence[Candidate],
        *,
        replicas: int | None = None,
        speed: float = 1.0,
    ) -> list[Summary]:
        """What constants amount to on a part, chunk by chunk."""
        rows: list[dict[str, Any]] = []
        by_budget: dict[int, list[Candidate]] = {}
        for candidate in candidates:
            by_budget.setdefault(candidate.token_budget, []).append(candidate)
        found: dict[Candidate, Summary] = {}
        for budget, group in by_budget.items():
            for chunk in _chunks(group):
                actions = [candidate.action for candidate in chunk]
                key = _key("constants", part, replicas, speed, budget, actions)

                def make(budget: int = budget, actions: list[ServeAction] = actions) -> Any:
                    stage = self._stage(part, budget, replicas=replicas, speed=speed)
                    return [as_row(summarise(each)) for each in stage.constants(actions)]

                self._on_step("trying settings")
                rows = self._recall(key, make)
                found.update(zip(chunk, map(from_row, rows), strict=True))
        return [found[candidate] for candidate in candidates]

    def blocks(self, part: Part, candidate: Candidate, *, costs: StepCosts | None = None) -> Blocks:
        """What a constant amounts to, block by block."""
        key = _key("blocks", part, candidate.token_budget, [candidate.action], repr(costs))

        def make() -> str:
            stage = self._stage(part, candidate.token_budget, costs=costs)
            return blocks_text(stage.constants([candidate.action])[0])

        return blocks_of(self._recall(key, make))

    def contenders(self, constant: Candidate) -> list[Contender]:
        """The policies that adapt, tuned ones first, on both parts."""
        menu = KnobMenu(self.adaptive_task(constant))
        rule = tuned_kv_rule(
            constant.action, lambda rules: self._ranks(constant, rules, KvRuleDriver)
        )
        schedule = tuned_schedule(
            menu,
            constant.action,
            rate_edges_rps(self.traffic, self.ask.replicas),
            HOT,
            lambda schedules: self._ranks(constant, schedules, ScheduleDriver),
        )
        tuned: list[tuple[PolicyFile, Callable[[], Driver]]] = [
            (PolicyFile(kind="kv_rule", kv_rule=rule), partial(KvRuleDriver, rule)),
            (PolicyFile(kind="schedule", schedule=schedule), partial(ScheduleDriver, schedule)),
        ]
        found = [self.contender(constant, policy, make, tuned=True) for policy, make in tuned]
        for name in SHIPPED:
            if name in agent_names():
                make_one: Callable[[], Agent] = partial(make_agent, name)
                policy = PolicyFile(kind="agent", agent=name)
                driver = partial(AgentDriver, make_one)
                found.append(self.contender(constant, policy, driver, tuned=False))
        if self.ask.planner:
            planner = partial(AgentDriver, partial(MpcAgent, constant.action))
            policy = PolicyFile(kind="agent", agent="mpc")
            found.append(self.contender(constant, policy, planner, tuned=False))
        return found

    def contender(
        self,
        constant: Candidate,
        policy: PolicyFile,
        make: Callable[[], Driver],
        *,
        tuned: bool,
    ) -> Contender:
        """A policy played on both parts, starting at a constant."""
        earlier, later = (
            self.policy_blocks(part, constant, policy, make)
            for part in (self.traffic.earlier, self.traffic.later)
        )
        return Contender(policy, make, tuned, earlier, later)

    def policy_blocks(
        self,
        part: Part,
        constant: Candidate,
        policy: PolicyFile,
        make: Callable[[], Driver],
        *,
        costs: StepCosts | None = None,
    ) -> Blocks:
        """What a policy amounts to, block by block."""
        key = _key("policy", part, constant.token_budget, [constant.action], policy, repr(costs))

        def play() -> str:
            stage = self._adaptive_stage(part, constant, costs=costs)
            return blocks_text(stage.policy(make()))

        self._on_step(f"playing {policy.name}")
        return blocks_of(self._recall(key, play))

    def adaptive_task(self, constant: Candidate) -> TaskSpec:
        """What policies play: the constant is in force at the start.

        Warm knobs stay at its values where a change of them means a restart.
        """
        active = tuple(
            knob for knob in self.active if knob not in WARM or self.ask.switching == "standby"
        )
        return self._task(constant.token_budget, constant.action, active)

    def _ranks(
        self,
        constant: Candidate,
        parameters: Sequence[Given],
        driver: Callable[[Given], Driver],
    ) -> list[tuple[float, float, float]]:
        """How variants of a rule rank on earlier traffic."""
        ranks = []
        for chunk in _chunks(parameters):
            key = _key("rules", constant.token_budget, [constant.action], chunk)

            def make(chunk: Sequence[Given] = chunk) -> Any:
                stage = self._adaptive_stage(self.traffic.earlier, constant)
                played = stage.policies([driver(each) for each in chunk])
                return [as_row(summarise(blocks)) for blocks in played]

            self._on_step("tuning rules")
            ranks += [rank(self.ask, from_row(row)) for row in self._recall(key, make)]
        return ranks

    def _recall(self, key: str, make: Callable[[], Any]) -> Any:
        return self._journal.recall(key, make)

    def _adaptive_stage(
        self, part: Part, constant: Candidate, *, costs: StepCosts | None = None
    ) -> Stage:
        return self._cached_stage(self.adaptive_task(constant), part, costs=costs)

    def _stage(
        self,
        part: Part,
        token_budget: int,
        *,
        replicas: int | None = None,
        speed: float = 1.0,
        costs: StepCosts | None = None,
    ) -> Stage:
        task = self._task(token_budget, self.default.action, self.active)
        return self._cached_stage(task, part, replicas=replicas, speed=speed, costs=costs)

    def _cached_stage(
        self,
        task: TaskSpec,
        part: Part,
        *,
        replicas: int | None = None,
        speed: float = 1.0,
        costs: StepCosts | None = None,
    ) -> Stage:
        key = (task, part, replicas, speed, costs)
        if key not in self._stages:
            pieces = stretches(
                self.traffic,
                part,
                most=MOST_EARLIER if part == self.traffic.earlier else MOST_LATER,
                replicas=self.ask.replicas if replicas is None else replicas,
                speed=speed,
            )
            self._stages[key] = Stage(task, pieces, costs=costs, threads=self._threads)
        return self._stages[key]

    def _task(self, token_budget: int, start: ServeAction, active: tuple[str, ...]) -> TaskSpec:
        return study_task(
            self.ask,
            library=self._library,
            windows=WINDOWS,
            token_budget=token_budget,
            start=start,
            active=active,
        )

    def _fitting_tiers(self) -> tuple[QuantizationTier, ...]:
        """The tiers that keep enough quality and whose weights fit the memory granted."""
        allowed = allowed_tiers(self.ask, self.profile)
        fitting: list[QuantizationTier] = []
        for tier in allowed:
            try:
                build_deployment(self._task(FIRST_TOKEN_BUDGET, vllm_default(tier), ()))
            except InvalidInputError as error:
                if tier == allowed[-1] and not fitting:
                    raise InvalidInputError(
                        f"--memory-gb {self.ask.memory_gb or 0:g}: the weights of no tier that "
                        f"keeps {self.ask.least_quality:g} of the quality fit: {error}"
                    ) from error
            else:
                fitting.append(tier)
        return tuple(fitting)

    def _active_knobs(self) -> tuple[str, ...]:
        """The knobs that can make a difference here."""
        classes = self.traffic.trace.priority_class
        idle = {
            "speculation_depth": not self.ask.drafts,
            "quantization_tier": len(self.tiers) == 1,
            "prefill_decode_split": self.ask.replica_gpus == 1,
            "priority_routing": classes is None or len(set(classes.tolist())) == 1,
        }
        return tuple(knob for knob in KNOBS if not idle.get(knob, False))


def vllm_default(tier: QuantizationTier) -> ServeAction:
    """What vLLM does if it is told nothing, in this tier."""
    return ServeAction(
        batch_cap=256,
        kv_budget_fraction=1.0,
        speculation_depth=0,
        quantization_tier=tier,
        prefill_decode_split=False,
        priority_routing=False,
    )


def _chunks(items: Sequence[Given]) -> Iterable[Sequence[Given]]:
    return (items[first : first + CHUNK] for first in range(0, len(items), CHUNK))


def _key(kind: str, *parts: object) -> str:
    """A name of a piece of work, the same in every process."""
    text = json.dumps([_plain(part) for part in parts], sort_keys=True)
    return f"{kind}/{hashlib.blake2s(text.encode(), digest_size=12).hexdigest()}"


def _plain(part: object) -> object:
    if isinstance(part, list | tuple):
        return [_plain(each) for each in part]
    if isinstance(part, Part):
        return [part.start_s, part.end_s]
    dump = getattr(part, "model_dump", None)
    return part if dump is None else dump(mode="json")
