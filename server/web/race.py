"""Several agents on the same traffic, window by window, so that all can be watched at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from agents.base import Agent, Clairvoyant
from agents.episode_summary import COLUMNS, EpisodeSummary, summarise_windows
from agents.evaluation import agent_seed_of
from agents.registry import agent_entry, agent_names, make_agent
from agents.simple import ConstantAgent
from agents.tuned_files import constant_for
from grader.grading import grade_played
from llmserve_env.charts.episode import AnyPanel, Track, episode_panels
from llmserve_env.charts.ranking import Head, Ranked, ranking
from llmserve_env.charts.styles import look_of
from llmserve_env.episode_file import SavedEpisode
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import GradeReport, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.web.traffic import catalogue_of
from simulator.environment import ServingEnvironment
from simulator.validity import fidelity_line, observed_excursions, warning_lines

MOST_AGENTS: Final = 6
BEST_CONSTANT: Final = "best_constant"
HEADS: Final = tuple(Head(column.heading, column.explanation) for column in COLUMNS)
NOT_GRADED: Final = "not graded"
STILL_RUNNING: Final = "…"


@dataclass(slots=True)
class Lane:
    """One agent's episode: its environment, what it saw, and its grade once it is over."""

    name: str
    agent: Agent
    environment: ServingEnvironment
    last: ServeObservation
    windows: list[ServeObservation] = field(default_factory=list)
    report: GradeReport | None = None

    def advance(self, windows: int) -> None:
        """Play some windows, or as many as are left."""
        for _ in range(windows):
            if self.last.done:
                return
            self.last = self.environment.step(self.agent.act(self.last))
            self.windows.append(self.last)

    @property
    def track(self) -> Track:
        """What there is to draw."""
        return Track(self.name, self.windows)

    def grade(self, task: TaskSpec) -> None:
        """Have the finished episode graded, if its task is."""
        if self.last.done and self.report is None and task.variant_of is None:
            self.report = grade_played(self.environment)


class Race:
    """Agents on one task and seed. Not safe for use by several threads at once.

    Attributes:
        task: What is played.
        seed: Of the episode and its traffic.
        lanes: One per agent that has started.
    """

    def __init__(self, task: TaskSpec, seed: int) -> None:
        """Nobody plays yet."""
        self.task, self.seed = task, seed
        self.lanes: list[Lane] = []

    def join(self, name: str) -> None:
        """Let an agent start; the clairvoyant planner plans its whole episode here, for long.

        Raises:
            LLMServeError: If the agent does not exist or cannot play the task.
        """
        environment = ServingEnvironment(catalogue_of(self.task))
        first = environment.reset(task_id=self.task.task_id, seed=self.seed)
        agent = _agent(name, self.task)
        agent.reset(self.task, agent_seed_of(self.seed))
        if isinstance(agent, Clairvoyant):
            agent.watch(environment)
        self.lanes.append(Lane(name, agent, environment, first))

    def advance(self, windows: int) -> None:
        """Let every agent play some windows; after its last one an episode is graded."""
        for lane in self.lanes:
            lane.advance(windows)
            lane.grade(self.task)

    @property
    def played(self) -> int:
        """Windows that every agent has played."""
        return min((len(lane.windows) for lane in self.lanes), default=0)

    @property
    def is_over(self) -> bool:
        """Whether nobody has windows left."""
        return all(lane.last.done for lane in self.lanes)

    def panels(self) -> list[AnyPanel]:
        """The six panels of what was played so far."""
        return episode_panels(self.task, [lane.track for lane in self.lanes])

    def ranking(self) -> str:
        """HTML of the table, the best mean reward first, which is also the best grade."""
        summed = [(lane, self._summary(lane)) for lane in self.lanes if lane.windows]
        summed.sort(key=lambda entry: -entry[1].mean_reward)
        rows = [
            Ranked(
                lane.name,
                None if lane.report is None else lane.report.score,
                [column.text(summary) for column in COLUMNS],
            )
            for lane, summary in summed
        ]
        is_graded = self.task.variant_of is None
        ranked = ranking(rows, HEADS, no_score=STILL_RUNNING if is_graded else NOT_GRADED)
        return ranked + self._fidelity()

    def saved(self) -> list[SavedEpisode]:
        """The episodes as they are written to a file."""
        return [SavedEpisode(lane.environment.log(), lane.name) for lane in self.lanes]

    def _fidelity(self) -> str:
        """HTML of how far the numbers may be trusted; warnings once all is played."""
        lines = [f"Fidelity of {fidelity_line(self.task.deployment.profile)}."]
        if self.lanes and self.is_over:
            lines += warning_lines(
                (look_of(lane.name).label, observed_excursions(self.task, lane.windows))
                for lane in self.lanes
            )
        return f'<p class="ls-fidelity">{"<br>".join(map(escape, lines))}</p>'

    def _summary(self, lane: Lane) -> EpisodeSummary:
        return summarise_windows(lane.windows, window_s=self.task.window_s)


def agent_choices() -> list[str]:
    """The agents that may be chosen, those that people know first."""
    first = [
        "vllm_default",
        "heuristic",
        "ppo",
        "ppo_generalist",
        BEST_CONSTANT,
        "reactive",
        "random",
    ]
    known = agent_names()
    return [name for name in first if name in known] + [name for name in known if name not in first]


def check_agents(names: Sequence[str]) -> None:
    """Refuse a choice that cannot be played.

    Raises:
        InvalidInputError: If nobody was chosen, or too many, or somebody who is not listed.
    """
    if not 1 <= len(names) <= MOST_AGENTS:
        raise InvalidInputError(f"choose 1 to {MOST_AGENTS} agents, got {len(names)}")
    for name in names:
        if name not in agent_names():
            raise InvalidInputError(f"unknown agent {name!r}; known: {', '.join(agent_names())}")


def plans_ahead(name: str) -> bool:
    """Whether an agent plans for long before its first window."""
    return agent_entry(name).sees_future


def _agent(name: str, task: TaskSpec) -> Agent:
    """The agent; where no constant was searched for, the one of the task's own traffic."""
    shipped = shipped_catalogue()
    if name == BEST_CONSTANT and task not in shipped.playable:
        return ConstantAgent(constant_for(shipped.get(task.family), shipped.environment_version))
    return make_agent(name)
