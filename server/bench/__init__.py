"""The benchmark: agents over tasks and seeds, compared as papers do, and submissions to it."""
