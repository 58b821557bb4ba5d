"""What pydantic found wrong, as the half sentence that errors about files and options carry."""

from __future__ import annotations

from pydantic import ValidationError


def first_problem(error: ValidationError, *, whole: str = "", tells_input: bool = False) -> str:
    """Where the first problem lies and what it is, such as `steps.3.reward: Input should be ...`.

    Args:
        error: What was found.
        whole: Stands for the place where the whole is wrong; without it only the problem is told.
        tells_input: Whether the value follows, cut to 80 characters.
    """
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or whole
    told = f"{where}: {problem['msg']}" if where else str(problem["msg"])
    return f"{told}, got {problem['input']!r:.80}" if tells_input else told
