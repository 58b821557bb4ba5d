"""What the files around the code promise to each other."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from llmserve_env import LLMServeEnv, ServeAction, ServeObservation
from llmserve_env.tasks import shipped_catalogue
from scripts.run_checks import CHECKS
from server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MANIFEST = yaml.safe_load((ROOT / "openenv.yaml").read_text(encoding="utf-8"))
SOURCE_FOLDERS = (
    "llmserve_env",
    "simulator",
    "grader",
    "agents",
    "server",
    "vllm_plugin",
    "scripts",
    "examples",
    "tests",
)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_both_dockerfiles_are_the_same():
    assert read("server/Dockerfile") == read("Dockerfile")


def test_the_manifest_in_the_package_is_the_one_at_the_root():
    assert read("llmserve_env/openenv.yaml") == read("openenv.yaml")


def test_the_manifest_names_the_app_the_port_and_the_wire_classes():
    assert MANIFEST["spec_version"] == 1
    assert MANIFEST["name"] == "llmserve_env"
    assert MANIFEST["app"] == "server.app:app"
    assert MANIFEST["port"] == 7860
    assert MANIFEST["action"] == ServeAction.__name__
    assert MANIFEST["observation"] == ServeObservation.__name__


def test_the_manifest_asks_for_no_container_runtime():
    assert "execution" not in MANIFEST["validation"]


def test_the_manifest_declares_the_range_of_the_reward():
    assert MANIFEST["validation"]["reward"]["range"] == [-1.0, 1.0]


def test_every_file_that_names_the_version_names_the_same_one():
    version = PROJECT["project"]["version"]
    newest_release = re.search(r"^## \[(\d[^\]]*)\]", read("CHANGELOG.md"), re.MULTILINE)

    assert newest_release.group(1) == version
    assert MANIFEST["version"] == version
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version


def test_the_manifest_and_the_changelog_name_the_version_of_the_environment():
    version = shipped_catalogue().environment_version

    assert f"## [{version}]" in read("CHANGELOG.md")
    assert "Numbers moved" in read("CHANGELOG.md")


def test_the_environment_example_lists_every_setting_with_its_default():
    lines = re.findall(r"^(\w+)=(.*)$", read(".env.example"), re.MULTILINE)

    assert Settings.from_environ(dict(lines)) == Settings()
    assert len(lines) == len(Settings.model_fields)


def test_importing_the_package_loads_nothing_heavy():
    program = "import json, sys, llmserve_env; print(json.dumps(sorted(sys.modules)))"

    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    heavy = {"openenv", "gradio", "pandas", "torch", "numpy", "numba", "fastapi", "pyarrow"}
    assert heavy.isdisjoint(json.loads(output))


def test_autoenv_finds_the_client_and_the_wire_classes():
    from openenv.auto._discovery import get_discovery

    found = get_discovery().get_environment_by_name("llmserve")

    assert found.get_client_class() is LLMServeEnv
    assert found.get_action_class() is ServeAction
    assert found.get_observation_class() is ServeObservation


def test_what_openenv_push_wants_at_the_root_is_the_package_itself():
    import client
    import models

    assert client.LLMServeEnv is LLMServeEnv
    assert models.ServeAction is ServeAction


def test_the_script_named_server_starts_the_app_of_the_manifest():
    assert PROJECT["project"]["scripts"]["server"] == "server.app:main"
    assert "\ndef main(" in read("server/app.py")
    assert 'if __name__ == "__main__":\n    main()' in read("server/app.py")


def test_the_lock_file_names_the_public_package_index_only():
    hosts = set(re.findall(r"https?://([^/\"]+)", read("uv.lock")))

    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_torch_comes_with_the_extra_train_only():
    default = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]

    assert [name for name in default if name.startswith("torch")] == []


@pytest.mark.parametrize("check", ["ruff", "mypy", "lint-imports", "codespell"])
def test_the_test_command_runs_the_check(check):
    assert check in {command[0] for command in CHECKS}


def test_the_readme_and_ci_give_the_same_test_command():
    command = "uv run --frozen python scripts/run_checks.py"

    assert command in read("README.md")
    assert command in read(".ci/run")


@pytest.mark.parametrize("folder", ["llmserve_env", "simulator", "server", "scripts"])
def test_the_layout_lists_the_files_of_the_folder(folder):
    section = re.search(rf"^{folder}/\n((?:  .*\n)+)", read("docs/layout.md"), re.MULTILINE)

    listed = re.findall(r"^  (\S+)", section.group(1), re.MULTILINE)

    present = {path.name for path in (ROOT / folder).glob("*.[ps][yh]")}
    assert set(listed) | {"__init__.py"} == present | {"__init__.py"}


def test_no_source_file_is_longer_than_350_lines():
    paths = [path for folder in SOURCE_FOLDERS for path in (ROOT / folder).rglob("*.py")]

    long = [path.name for path in paths if path.read_text(encoding="utf-8").count("\n") > 350]

    assert long == []
