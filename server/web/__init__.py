"""The LLMServe tab of /web: compare agents, take the wheel, see why, see how far to trust it."""
