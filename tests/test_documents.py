"""What documents name is there: verbs, programs, their options, files and headings."""

import re
import shlex

import pytest
import typer

from server.cli.main import app
from tests.documents import DOCUMENTS, ROOT, commands, plain


def told_to_llmserve():
    """Every use of `llmserve` in any document, as a list of words."""
    for page in DOCUMENTS:
        for command in commands(page):
            for part in re.split(r" \| | && ", plain(command)):
                words = shlex.split(plain(part), comments=True) if "llmserve " in part else []
                if words[:1] == ["llmserve"] and words[1:2] != ["VERB"]:
                    yield pytest.param(words[1:], id=" ".join(words)[:60])


@pytest.mark.parametrize("words", list(told_to_llmserve()))
def test_every_use_of_llmserve_in_any_document_has_options_that_exist(words):
    command, context = typer.main.get_command(app), None
    while hasattr(command, "resolve_command"):
        context = command.make_context("llmserve", list(words), parent=context)
        _, command, words = command.resolve_command(context, context._protected_args + context.args)

    if "--help" not in words:
        assert command.make_context(command.name, list(words), parent=context).params is not None


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_programs_and_options_of_python_commands_exist(page):
    for command in commands(page):
        words = shlex.split(plain(command), comments=True) if "python " in command else []
        source = source_of(words)
        for option in [word.split("=")[0] for word in words if word.startswith("--") and source]:
            assert option in source, f"{option} of {' '.join(words)}"


def source_of(words):
    """The text of the program that `python` is asked to run, and of where its options come from."""
    if words[:2] == ["python", "-m"]:
        path = ROOT / f"{words[2].replace('.', '/')}.py"
    elif words[:1] == ["python"] and len(words) > 1:
        path = ROOT / words[1]
    else:
        return ""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"^from ([\w.]+) import", text, re.MULTILINE)
    shared = [ROOT / f"{name.replace('.', '/')}.py" for name in named]
    return text + "".join(other.read_text() for other in shared if other.exists())


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if heading:
            assert heading in anchors(path), target


def anchors(path):
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
