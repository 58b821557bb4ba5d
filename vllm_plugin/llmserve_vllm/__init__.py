"""Moves vLLM's batch cap, KV budget, speculation depth and queue order while it serves."""

PLUGIN_VERSION = "0.2.0"
