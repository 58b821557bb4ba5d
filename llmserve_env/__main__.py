"""Hands over to the `llmserve` command: `python -m llmserve_env demo` is `llmserve demo`."""

from __future__ import annotations

from importlib import import_module

if __name__ == "__main__":
    # By name, because this floor does not know the ones above it.
    import_module("server.cli.main").main()
