"""Turns a task, a seed and a row of actions into observations and rewards."""
