import pytest

from server.settings import Settings


def test_the_defaults_serve_64_episodes_on_port_7860():
    settings = Settings.from_environ({"HOME": "/root"})

    assert settings.port == 7860
    assert settings.max_sessions == 64
    assert settings.session_ttl_s >= 600.0
    assert settings.web_interface is True


def test_every_variable_is_read():
    settings = Settings.from_environ(
        {
            "PORT": "8000",
            "ENABLE_WEB_INTERFACE": "false",
            "LLMSERVE_HOST": "127.0.0.1",
            "LLMSERVE_MAX_SESSIONS": "8",
            "LLMSERVE_SESSION_TTL_S": "1200",
            "LLMSERVE_MAX_BODY_BYTES": "2048",
            "LLMSERVE_LOG_LEVEL": "debug",
        }
    )

    assert settings == Settings(
        host="127.0.0.1",
        port=8000,
        max_sessions=8,
        session_ttl_s=1200.0,
        max_body_bytes=2048,
        log_level="debug",
        web_interface=False,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "seven"),
        ("PORT", "70000"),
        ("LLMSERVE_SESSION_TTL_S", "599"),
        ("LLMSERVE_SESSION_TTL_S", "nan"),
        ("LLMSERVE_MAX_SESSIONS", "0"),
        ("LLMSERVE_LOG_LEVEL", "loud"),
        ("LLMSERVE_HOST", ""),
    ],
)
def test_a_bad_value_is_refused_naming_variable_and_value(variable, value):
    with pytest.raises(ValueError, match=variable) as refused:
        Settings.from_environ({variable: value})

    assert repr(value) in str(refused.value)


def test_a_misspelt_variable_is_refused():
    with pytest.raises(ValueError, match=r"unknown LLMSERVE_MAX_SESSION; known: PORT"):
        Settings.from_environ({"LLMSERVE_MAX_SESSION": "8"})
