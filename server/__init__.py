"""Puts the environment behind HTTP and WebSocket, as OpenEnv defines them."""

from server.temporary import name_temporary_folder

# Here, because whatever is imported next may ask for one.
name_temporary_folder()
