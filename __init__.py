"""LLMServeEnv; only `openenv push` looks here, programs import `llmserve_env`."""
