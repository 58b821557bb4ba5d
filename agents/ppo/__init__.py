"""Proximal policy optimisation: a trainer on torch, and an agent that acts with numpy alone."""
