import pytest

from server.settings import Settings, settings_or_exit


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
        ("LLMSERVE_CORS_ORIGINS", "example.org"),
        ("LLMSERVE_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("LLMSERVE_STEP_REQUESTS_PER_MINUTE", "-1"),
    ],
)
def test_a_bad_value_is_refused_naming_variable_and_value(variable, value):
    with pytest.raises(ValueError, match=variable) as refused:
        Settings.from_environ({variable: value})

    assert repr(value) in str(refused.value)


def test_a_misspelt_variable_is_refused():
    with pytest.raises(ValueError, match=r"unknown LLMSERVE_MAX_SESSION; known: PORT"):
        Settings.from_environ({"LLMSERVE_MAX_SESSION": "8"})


def test_a_bad_token_is_refused_without_being_told():
    with pytest.raises(ValueError, match="LLMSERVE_TOKEN") as refused:
        Settings.from_environ({"LLMSERVE_TOKEN": "hunter2"})

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "proxies"),
    [
        ({}, ()),
        ({"LLMSERVE_TRUSTED_PROXIES": "10.1.2.3, 10.9.0.0/16"}, ("10.1.2.3", "10.9.0.0/16")),
        ({"SPACE_ID": "me/mine"}, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
        ({"SPACE_ID": "me/mine", "LLMSERVE_TRUSTED_PROXIES": "10.1.2.3"}, ("10.1.2.3",)),
    ],
)
def test_on_a_space_its_proxy_is_trusted_unless_others_are_named(variables, proxies):
    assert Settings.from_environ(variables).proxies == proxies


def test_a_server_with_wrong_settings_says_so_in_a_line_and_ends(monkeypatch, capsys):
    monkeypatch.setenv("LLMSERVE_MODE", "real")

    with pytest.raises(SystemExit) as ended:
        settings_or_exit()

    assert ended.value.code == 2
    assert capsys.readouterr().err == "server: LLMSERVE_MODE=real needs LLMSERVE_REAL_MODEL\n"
