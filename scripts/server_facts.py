"""Reads from a vLLM server, and of this machine, under which conditions it is measured."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from server.real_settings import shown_url

TIMEOUT_S: Final = 10.0
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
VECTOR_FLAGS: Final = ("avx2", "avx512f", "amx_tile")


def check_loopback(url: str) -> None:
    """Refuse any server but one on this machine: a measurement is load that others would pay for.

    Raises:
        ValueError: If the URL names another host.
    """
    host = urlsplit(url).hostname
    if host not in LOOPBACK:
        raise ValueError(f"only servers on this machine are measured, got host {host!r}")


def read_conditions(url: str, note: str) -> dict[str, Any]:
    """What the server and the machine tell, and what the caller adds.

    Args:
        url: Of the server's OpenAI API, on this machine.
        note: What nobody tells: data type, threads, what else ran.

    Raises:
        ValueError: If the server is no vLLM on this machine.
        httpx.HTTPError: If it does not answer.
    """
    check_loopback(url)
    root = shown_url(url)
    version = httpx.get(f"{root}/version", timeout=TIMEOUT_S, trust_env=False)
    metrics = httpx.get(f"{root}/metrics", timeout=TIMEOUT_S, trust_env=False)
    version.raise_for_status()
    metrics.raise_for_status()
    cache = cache_facts(metrics.text)
    return {
        "engine": f"vLLM {version.json()['version']}",
        "kv_block_tokens": int(cache["block_size"]),
        "kv_blocks": int(cache["num_gpu_blocks"]),
        "prefix_caching": cache["enable_prefix_caching"] == "True",
        "cores": os.cpu_count(),
        "vector_units": vector_units(_cpu_flags()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "note": note,
    }


def cache_facts(metrics: str) -> dict[str, str]:
    """The labels of vllm:cache_config_info.

    Raises:
        ValueError: If the text has no such metric.
    """
    found = re.search(r"^vllm:cache_config_info\{(.*)\}", metrics, re.MULTILINE)
    if found is None:
        raise ValueError("the server tells no vllm:cache_config_info: it is no vLLM")
    return dict(re.findall(r'(\w+)="([^"]*)"', found.group(1)))


def vector_units(flags: set[str]) -> str:
    """The vector instructions that matter for the speed of matrix products."""
    return ", ".join(flag for flag in VECTOR_FLAGS if flag in flags) or "none"


def _cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():  # not Linux
        return set()
    found = re.search(r"^flags\s*:\s*(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return set(found.group(1).split()) if found else set()
