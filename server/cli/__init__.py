"""The `llmserve` command: one file a verb, each imported only when it runs.

How to add a verb:

1. `server/cli/NAME.py` with a function that typer turns into a command: its arguments are annotated
   (`Annotated[int, typer.Option(help=...)]`), its docstring is its help. For verbs of verbs
   (`llmserve trace import`) make a `typer.Typer` instead of a function.
2. One line in the table of `server/cli/verbs.py`: its name, "module:attribute", one sentence.
3. Its section in docs/cli.md, a line in docs/layout.md, and `tests/test_cli_NAME.py`.

What every verb keeps to:

- The module is imported only when the verb is called, so it imports what it needs at its top.
  What only some ways of calling it need (torch, openai) it imports where it is used.
- `as_json: AsJson = False` (`conventions.py`): with --json stdout is one JSON document and nothing
  else, by `write_json`. Without it, tables go to stdout by `screen()` (`screens.py`).
- Progress goes to stderr, and only where that is a terminal: `progress_bar` (`screens.py`).
- Errors are raised, never printed: a child of LLMServeError whose message names the value and its
  range ends the command with one line on stderr and a status of `ExitStatus`. A server is spoken to
  inside of `reaching(url)` (`remote.py`), which says that it cannot be reached.
- It returns None when all is well, or an `ExitStatus`.
"""
