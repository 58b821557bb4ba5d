"""The reward's terms and the grade as OpenEnv's rubrics, for tools that read `env.rubric`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openenv.core.rubrics import Rubric, TrajectoryRubric

from simulator.reward import TERMS


class TermRubric(Rubric):
    """One term of a window's reward, in [0, 1]; `last_score` is that of the last window."""

    def __init__(self, term: str) -> None:
        """Read this term."""
        super().__init__()  # type: ignore[no-untyped-call]  # OpenEnv leaves it untyped
        self._term = term

    def forward(self, action: Any, observation: Any) -> float:  # noqa: ARG002  OpenEnv's signature
        """The term, which the engine has worked out."""
        term: float = observation.metadata["reward_terms"][self._term]
        return term

    def take(self, action: Any, observation: Any) -> None:
        """Evaluate it; where nobody listens, without the ceremony, which costs ten times more."""
        if self._forward_hooks or self._forward_pre_hooks:
            self(action, observation)
        else:
            object.__setattr__(self, "last_score", self.forward(action, observation))


class EpisodeRubric(TrajectoryRubric):
    """0 until the last window, then the grader's score; its children are the reward's terms."""

    def __init__(self, score: Callable[[], float]) -> None:
        """Ask `score` for the score of the episode once it is over."""
        super().__init__()
        self._score = score
        self._terms = tuple(TermRubric(term) for term in TERMS)
        for term, child in zip(TERMS, self._terms, strict=True):
            setattr(self, term, child)

    def forward(self, action: Any, observation: Any) -> float:
        """Evaluate the terms, keep the window, and score the episode if it is over."""
        for child in self._terms:
            child.take(action, observation)
        score: float = super().forward(action, observation)
        return score

    def score_trajectory(self, trajectory: list[tuple[Any, Any]]) -> float:  # noqa: ARG002
        """The grader's score of the episode, in [0, 1]."""
        return self._score()

    def compute_step_rewards(self) -> list[float]:
        """The reward of every window so far."""
        return [observation.reward for _, observation in self.trajectory]
