"""The data files of the contract: the task catalogue."""
