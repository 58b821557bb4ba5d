"""Takes blocks of the KV cache out of circulation, and gives them back."""

from __future__ import annotations

from typing import Any, Protocol


class BlockPool(Protocol):
    """What is needed of vLLM's pool of KV blocks."""

    num_gpu_blocks: int

    def get_num_free_blocks(self) -> int:
        """Blocks that nobody holds."""
        ...

    def get_new_blocks(self, num_blocks: int) -> list[Any]:
        """So many free blocks, now held by the caller."""
        ...

    def free_blocks(self, ordered_blocks: list[Any]) -> None:
        """Take blocks back."""
        ...


class BlockHold:
    """The blocks of a pool that requests may not use; taken only from those that are free.

    Lowering a budget therefore takes as long as running requests need to give blocks back: they
    finish, or vLLM preempts and later resumes them.
    """

    def __init__(self, pool: BlockPool) -> None:
        """Hold nothing."""
        self._pool = pool
        self._blocks: list[Any] = []
        self._wanted = 0

    @property
    def total(self) -> int:
        """Blocks that requests could use without a budget: all but vLLM's null block."""
        return self._pool.num_gpu_blocks - 1

    @property
    def held(self) -> int:
        """Blocks held back now."""
        return len(self._blocks)

    @property
    def usage(self) -> float:
        """Share of all blocks that requests hold, whatever is held back."""
        used = self.total - self._pool.get_num_free_blocks() - self.held
        return used / self.total

    def leave(self, fraction: float) -> None:
        """From now on leave requests this share of all blocks."""
        self._wanted = self.total - round(fraction * self.total)
        self.settle()

    def settle(self) -> None:
        """Take or give back what is missing to what is wanted; called before every step."""
        missing = self._wanted - self.held
        if missing > 0:
            taken = min(missing, self._pool.get_num_free_blocks())
            if taken > 0:
                self._blocks.extend(self._pool.get_new_blocks(taken))
        elif missing < 0:
            self._give_back(-missing)

    def release(self) -> None:
        """Give all blocks back until the next `settle`: vLLM wants to reset its cache."""
        self._give_back(self.held)

    def _give_back(self, count: int) -> None:
        if count > 0:
            keep = self.held - count
            back, self._blocks = self._blocks[keep:], self._blocks[:keep]
            self._pool.free_blocks(back)
