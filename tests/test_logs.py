import json
import logging
import subprocess
import sys

import pytest

from server.logs import LineFormatter, Played, request_id_of, secrets_of
from server.settings import Settings


def record(message, **extra):
    made = logging.LogRecord("server.x", logging.INFO, "x.py", 1, message, (), None)
    vars(made).update(extra)
    return made


def test_a_line_of_json_has_the_request_and_the_fields():
    marker = request_id_of.set("r1")
    fields = Played("9b0dcaaa", "static_workload", 3).fields()

    line = json.loads(LineFormatter(as_json=True).format(record("POST /step", fields=fields)))

    request_id_of.reset(marker)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "server.x",
        "message": "POST /step",
        "request_id": "r1",
        "session": "9b0dcaaa",
        "task": "static_workload",
        "step": 3,
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_what_a_client_sends_begins_no_line_of_its_own(as_json):
    line = LineFormatter(as_json=as_json).format(record("GET /a\n2026 ERROR forged"))

    assert "\n" not in line


@pytest.mark.parametrize("as_json", [True, False])
def test_a_secret_is_hidden_wherever_it_stands(as_json):
    formatter = LineFormatter(as_json=as_json, secrets=["sk-12345", "sk-12345-longer"])
    problem = "key sk-12345-longer was refused"
    try:
        raise RuntimeError(problem)
    except RuntimeError as error:
        failed = record("asked with sk-12345", fields={"header": "Bearer sk-12345"})
        failed.exc_info = (type(error), error, error.__traceback__)

    line = formatter.format(failed)

    assert "12345" not in line
    assert "longer" not in line
    assert line.count("[secret]") == 3


def test_keys_tokens_and_passwords_are_secrets():
    settings = Settings(
        openai_api_key="sk-12345",
        token="0123456789abcdef",
        real_base_url="http://me:pass-1@host/v1",
        real_tier_urls={"FP16": "http://me:pass-2@host/v1"},
    )

    assert set(secrets_of(settings)) == {"sk-12345", "0123456789abcdef", "pass-1", "pass-2"}


def test_a_request_has_one_line_however_uvicorn_is_started():
    script = (
        "import logging, uvicorn;"
        "uvicorn.Config('server.app:app', port=0).load();"
        "print(logging.getLogger('uvicorn.access').hasHandlers())"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.split() == ["False"], done.stderr
