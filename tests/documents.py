"""The documents of the project, and the code that they show."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Those that start readers: every command of theirs is run.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/start").glob("*.md")), ROOT / "docs/api.md"]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page):
    """(language, text) of every block of code, those within lists too."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [(kind, re.sub(rf"^{indent}", "", code, flags=re.M)) for indent, kind, code in found]


def commands(page):
    """The commands of a page's bash blocks; one with a loop is a command as a whole."""
    for kind, code in blocks(page):
        if kind == "bash" and re.search(r"^for ", code, re.MULTILINE):
            yield code
        elif kind == "bash":
            lines = code.replace("\\\n", " ").splitlines()
            yield from (re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip())


def plain(command):
    """The command without variables and without uv: what NOT_RUN and others name it by."""
    words = re.sub(r"^(\w+=(\$\([^)]*\)|\S*) )*", "", command)
    return re.sub(r"^uv run( --frozen| --no-sync| --extra \w+)* ", "", words)
