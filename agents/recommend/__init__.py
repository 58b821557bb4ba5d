"""A trace and objectives -> settings, whether to adapt them, and how far to trust that."""
