"""What trying the image came to -> docs/image.md, for scripts/try_image.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

TEXT: Final = """\
# The image, built and tried

Written by `scripts/verify_dockerfile.sh` on {date}: {machine}, load average {load_average:.0f}.
Other programs ran beside it: seconds in which a process was ready and had no CPU are left out,
where not said otherwise. There is no Docker engine: buildah builds, runc runs, and Debian
bookworm stands in for `python:3.11-slim`, whose size differs a little.

- **Size**: {size_mb:.0f} MB uncompressed, {base_mb:.0f} of them the base; 1200 MB is the limit. No
  torch, no development tools, no tests.
- **It says**: user `{user}`, port {ports}, command `{command}`, a health check in exec form.
- **Build**: {first_s:.0f} s of wall time from nothing, `uv sync --frozen` among it ({sync});
  {again_s:.0f} s after an edit in `server/`, which leaves the layers of the dependencies and of the
  compiled kernel as they are.
- **The kernel is warm**: the image brings {files} files of compiled code, and they are the same
  after every trial. On a read-only root, where numba cannot use them in place, a copy in `/tmp` is
  read. The engine plays its first window after {loaded_s:.1f} s of CPU time; when the image was
  built, the same compiled it for {compiled_s:.0f} s (of wall time).
- **Each trial** is a container without capabilities, with 2 CPUs, 2048 MB of memory and 256
  threads: `openenv.yaml`, and what `openenv validate` allows. `/health`, `/web/`, `/tasks` and
  `/docs` answer 200 in all of them. Uid 1000 can write its `$HOME`,
  and imports a trace there.

{trials}
SIGTERM ends the server with status 0.

## Layers

{layers}"""


def page(facts: Mapping[str, Any]) -> str:
    """The page."""
    layers = facts["contents"]["layers"]
    trials = [
        (
            each["trial"],
            f"{each['healthy_s']:.1f}",
            f"{each['wall_s']:.0f}",
            f"{each['first_step_ms']:.0f}",
            f"{each['second_step_ms']:.0f}",
            f"{each['memory_mb']:.0f}",
            f"{each['stop_s']:.1f}",
        )
        for each in facts["trials"]
    ]
    head = (
        "as",
        "healthy after s",
        "with waiting s",
        "first step ms",
        "next ms",
        "memory MB",
        "SIGTERM to end s",
    )
    return TEXT.format(
        date=facts["date"],
        machine=facts["machine"],
        load_average=facts["load_average"],
        size_mb=facts["contents"]["bytes"] / 1e6,
        base_mb=layers[0]["bytes"] / 1e6,
        user=facts["config"]["User"],
        ports=", ".join(facts["config"]["ExposedPorts"]),
        command=" ".join(facts["config"]["Cmd"]),
        first_s=facts["build"]["first_s"],
        sync="; ".join(facts["build"]["sync"]).lower(),
        again_s=facts["build"]["again_s"],
        compiled_s=facts["build"]["compiled_s"],
        **facts["kernel"],
        trials=_table(head, trials),
        layers=_table(
            ("MB", "made by"),
            [(f"{each['bytes'] / 1e6:.1f}", f"`{each['command']}`") for each in layers],
        ),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(row) for row in (head, ("---",) * len(head), *rows)]
    return "".join(f"| {line} |\n" for line in lines)
