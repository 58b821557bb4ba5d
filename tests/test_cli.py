"""The `llmserve` command: its verbs, its exit statuses, and one line for every error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmserve_env.errors import InvalidInputError, LanguageModelError
from server.cli.conventions import ExitStatus, UnreachableError
from server.cli.main import app
from server.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
NAMES = [verb.name for verb in VERBS]


def call(*arguments, typed=None):
    return CliRunner().invoke(app, [str(each) for each in arguments], input=typed)


def llmserve(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "llmserve_env", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture
def failing(monkeypatch):
    """Makes `llmserve tasks` raise this."""

    def raise_this(error):
        def tasks() -> None:
            raise error

        monkeypatch.setattr("server.cli.tasks.tasks", tasks)

    return raise_this


def test_help_lists_every_verb_and_imports_none():
    program = (
        "import json, sys\n"
        "from server.cli.main import app\n"
        "try:\n    app(['--help'], prog_name='llmserve')\n"
        "except SystemExit as end:\n    status = end.code\n"
        "print(json.dumps([status, sorted(sys.modules)]))"
    )

    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    status, modules = json.loads(output.splitlines()[-1])
    assert status == 0
    assert all(f" {name} " in output for name in NAMES)
    assert {"numpy", "numba", "fastapi", "openenv", "torch", "httpx"}.isdisjoint(modules)


def test_the_names_of_the_verbs_are_unique():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_explains_itself(name):
    result = call(name, "--help")

    assert result.exit_code == 0
    assert "--help" in result.output


def test_no_verb_at_all_shows_the_help():
    result = call()

    assert result.exit_code == 0
    assert "Usage" in result.output


def test_the_version_is_that_of_the_environment():
    assert call("--version").stdout == "llmserve 0.2.0\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task"], "No such command 'task'. Did you mean 'tasks'? (see llmserve --help)"),
        (["--loud"], "No such option: --loud"),
        (["tasks", "--loud"], "No such option: --loud (see llmserve tasks --help)"),
        (["compare", "--seed", "many"], "'--seed': Input should be a valid integer"),
        (["compare", "--seed", "many"], "got 'many'"),
        (["serve", "--mode", "dream"], "'sim', 'real'"),
    ],
)
def test_wrong_usage_is_one_line_that_names_what_came(arguments, words):
    result = call(*arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("llmserve: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_process_of_its_own_says_the_same():
    result = llmserve("tasks", "--loud")

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "llmserve: No such option: --loud (see llmserve tasks --help)\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("x must be 1 to 2, got 3"), ExitStatus.WRONG_INPUT),
        (UnreachableError("no server answers"), ExitStatus.UNREACHABLE),
        (LanguageModelError("no decision"), ExitStatus.CHECK_FAILED),
        (FileNotFoundError("no such file"), ExitStatus.WRONG_INPUT),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
    ],
)
def test_an_error_ends_the_command_with_its_status(failing, error, status):
    failing(error)

    result = call("tasks")

    assert result.exit_code == status
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_a_broken_promise_of_our_own_code_is_not_hidden(failing):
    failing(RuntimeError("a bug"))

    assert isinstance(call("tasks").exception, RuntimeError)


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "llmserve_env", "tasks", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        said = process.stderr.read()

    assert process.returncode == ExitStatus.NO_READER
    assert said == b""


def test_the_tasks_are_told_as_json():
    told = json.loads(call("tasks", "--json").stdout)

    by_id = {task["task_id"]: task for task in told["tasks"]}
    assert len(by_id) == 9
    assert by_id["bursty_workload"]["knobs"]["quantization_tier"] == "warm"
    assert by_id["bursty_workload"]["knobs"]["priority_routing"] == "fixed"
    assert by_id["static_azure_conv"]["is_graded"] is False


def test_the_tasks_are_told_as_a_table():
    assert "adversarial_multitenant" in call("tasks").stdout


def test_the_agents_are_told_as_json():
    told = json.loads(call("agents", "--json").stdout)

    assert {"heuristic", "best_constant", "clairvoyant"} <= {a["name"] for a in told["agents"]}
    assert "module:Class" in told["by_argument"]


def test_the_agents_are_told_as_a_table():
    assert 'constant:{"batch_cap": 64}' in call("agents").stdout
