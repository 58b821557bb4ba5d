"""Puts the environment behind HTTP and WebSocket, as OpenEnv defines them."""
