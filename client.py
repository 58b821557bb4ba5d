"""The client, where `openenv push` looks for it; programs import it from `llmserve_env`."""

from llmserve_env.client import LLMServeEnv

__all__ = ["LLMServeEnv"]
