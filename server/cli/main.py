"""The `llmserve` command itself: finds the verb, runs it, and turns errors into exit statuses."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup

from llmserve_env.errors import LanguageModelError, LLMServeError
from server.cli.conventions import ExitStatus, UnreachableError
from server.cli.verbs import VERBS, Verb

NAME: Final = "llmserve"
# The first class that an error belongs to decides.
STATUSES: Final[tuple[tuple[type[Exception], ExitStatus], ...]] = (
    (UnreachableError, ExitStatus.UNREACHABLE),
    (LanguageModelError, ExitStatus.CHECK_FAILED),
    (LLMServeError, ExitStatus.WRONG_INPUT),
    (typer.TyperException, ExitStatus.WRONG_INPUT),
    (OSError, ExitStatus.WRONG_INPUT),
)


class VerbGroup(TyperGroup):
    """The verbs of the table; a verb's module is imported when the verb is called."""

    def __init__(self, **attributes: Any) -> None:
        """Know every verb by name and summary alone."""
        super().__init__(**attributes)
        for verb in VERBS:
            self.add_command(TyperCommand(verb.name, help=verb.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the arguments name, its module imported."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and _load(next(verb for verb in VERBS if verb.name == name)), rest

    def main(self, *positional: Any, **options: Any) -> Any:
        """Run a verb and exit with its status; an error is one line on stderr."""
        options["standalone_mode"] = False
        try:
            status = super().main(*positional, **options)
        except (LLMServeError, typer.TyperException, OSError) as error:
            typer.echo(f"{NAME}: {_one_line(error)}", err=True)
            status = next(code for kind, code in STATUSES if isinstance(error, kind))
        except typer.Abort:
            status = ExitStatus.INTERRUPTED
        sys.exit(int(status or ExitStatus.OK))

    def invoke(self, ctx: Any) -> Any:
        """What the verb returns; Ctrl-C and a reader that has gone end it quietly."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(f"{NAME}: interrupted", err=True)
            return ExitStatus.INTERRUPTED
        except BrokenPipeError:
            # What Python still holds for stdout would fail again on the way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitStatus.NO_READER


def _load(verb: Verb) -> Any:
    module, _, attribute = verb.target.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        verb_app = typer.Typer(add_completion=False)
        verb_app.command(verb.name)(found)
        found = verb_app
    command = typer.main.get_command(found)
    command.name = verb.name
    return command


def _one_line(error: Exception) -> str:
    text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    if isinstance(error.__cause__, ValidationError) and isinstance(error, typer.BadParameter):
        # What typer says of a wrong value leaves the value out.
        text += f", got {error.__cause__.errors()[0]['input']!r:.80}"
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return " ".join(text.replace("Value error, ", "").split()) + hint


def _say_version(wanted: bool) -> None:
    if wanted:
        # Here, because reading the tasks takes longer than showing the help.
        from llmserve_env.tasks import shipped_catalogue

        typer.echo(f"{NAME} {shipped_catalogue().environment_version}")
        raise typer.Exit


app = typer.Typer(
    name=NAME,
    cls=VerbGroup,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Learn to run an LLM server, on measured GPU times. docs/cli.md has every verb, its JSON "
    "and the exit statuses.",
)


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Its version.")
    ] = False,
) -> None:
    """Show the help where no verb is given; a verb finds what the user brought."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return
    # Here, because its imports take longer than showing the help.
    from server.settings import use_folders_of_environment

    use_folders_of_environment()


def _terminate(*_: object) -> None:
    """End as on an exception, so that a terminal is left as it was."""
    raise SystemExit(ExitStatus.TERMINATED)


def main() -> None:
    """Run the command line of this process."""
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name=NAME)


if __name__ == "__main__":
    main()
