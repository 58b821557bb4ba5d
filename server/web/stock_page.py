"""What OpenEnv's own page says of this environment: what it is, and a call that works."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from openenv.core.env_server import web_interface
from openenv.core.env_server.types import EnvironmentMetadata

from llmserve_env.models import ServeAction

STOCK_URL: Final = "http://localhost:8000"
STOCK_WORDS: Final = web_interface.get_quick_start_markdown
STOCK_CALL: Final = re.compile(r"ServeAction\([^()]*\)")


def describe_on_the_stock_page(
    metadata: EnvironmentMetadata, example: ServeAction, port: int
) -> None:
    """Have the playground show this description, and this action sent to this port.

    Call it before OpenEnv builds its page. OpenEnv describes an environment that is handed over
    as a class by the class's name, and its example is every field's zero, sent to port 8000; it
    has no setting for either.
    """

    def quick_start(known: Any, _: Any, observation_cls: Any) -> str:
        words = STOCK_WORDS(known, cast("Any", ServeAction), observation_cls)
        words = words.replace(STOCK_URL, f"http://localhost:{port}")
        return STOCK_CALL.sub(lambda _: repr(example), words)

    setattr(web_interface, "get_quick_start_markdown", quick_start)  # noqa: B010
    setattr(web_interface, "load_environment_metadata", lambda *_: metadata)  # noqa: B010
