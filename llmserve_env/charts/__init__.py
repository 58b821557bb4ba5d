"""The one renderer of pictures: SVG and HTML as text, from the standard library alone.

The web page, OpenEnv's playground, notebooks, reports and the pictures in docs/ are drawn by it.
Numbers come in, text goes out; nothing here plays, measures or reads a file but its own style.
"""
