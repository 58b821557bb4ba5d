import pytest

from server.real_settings import RealSettings, shown_url
from server.settings import Settings

REAL = {
    "LLMSERVE_MODE": "real",
    "LLMSERVE_REAL_MODEL": "tiny",
    "LLMSERVE_REAL_BASE_URL": "http://127.0.0.1:8000/v1",
}


def test_the_simulator_is_played_on_unless_told_otherwise():
    assert Settings.from_environ({}).mode == "sim"


def test_every_variable_of_a_real_server_is_read():
    settings = Settings.from_environ(
        REAL
        | {
            "LLMSERVE_REAL_PROVIDER": "vllm",
            "LLMSERVE_REAL_TIER_URLS": "FP16=http://a:1/v1, INT8=http://b:2/v1",
            "LLMSERVE_REAL_SPLIT_URLS": "FP16=http://c:3/v1",
            "LLMSERVE_REAL_KV_POOL_TOKENS": "4096",
            "LLMSERVE_REAL_RATE_SCALE": "0.25",
        }
    )

    assert settings.real_provider == "vllm"
    assert settings.real_kv_pool_tokens == 4096
    assert settings.real_rate_scale == 0.25
    assert settings.deployments("FP16") == {
        ("FP16", False): "http://a:1/v1",
        ("INT8", False): "http://b:2/v1",
        ("FP16", True): "http://c:3/v1",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LLMSERVE_REAL_MODEL": ""}, "needs LLMSERVE_REAL_MODEL"),
        ({"LLMSERVE_REAL_BASE_URL": ""}, "needs LLMSERVE_REAL_BASE_URL, or OPENAI_API_KEY"),
        ({"LLMSERVE_REAL_BASE_URL": "ftp://x"}, "LLMSERVE_REAL_BASE_URL"),
        ({"LLMSERVE_REAL_TIER_URLS": "FP4=http://a/v1"}, "LLMSERVE_REAL_TIER_URLS"),
        ({"LLMSERVE_REAL_RATE_SCALE": "0"}, "LLMSERVE_REAL_RATE_SCALE"),
        ({"LLMSERVE_REAL_MAX_TOKENS": "5"}, "unknown LLMSERVE_REAL_MAX_TOKENS"),
    ],
)
def test_what_cannot_be_played_on_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_environ(REAL | change)


def test_a_key_is_shown_nowhere():
    key = "sk-secret"
    settings = Settings.from_environ(REAL | {"OPENAI_API_KEY": key})

    assert (
        key not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    )


def test_the_key_is_not_in_the_error_of_bad_settings():
    with pytest.raises(ValueError, match="needs LLMSERVE_REAL_MODEL") as refused:
        Settings.from_environ({"LLMSERVE_MODE": "real", "OPENAI_API_KEY": "sk-secret"})

    assert "sk-secret" not in f"{refused.value} {refused.value.__cause__}"


def test_a_url_is_shown_without_its_password():
    assert shown_url("https://me:secret@host:8000/v1?key=1") == "https://host:8000"
    assert shown_url(None) == "https://api.openai.com"


def test_a_url_alone_makes_one_deployment():
    settings = RealSettings(mode="real", real_model="m", real_base_url="http://a/v1")

    assert settings.deployments("FP16") == {("FP16", False): "http://a/v1"}


CONTROLLED = REAL | {
    "LLMSERVE_REAL_PROVIDER": "vllm",
    "LLMSERVE_REAL_BASE_URL": "http://a/v1",
    "LLMSERVE_REAL_CONTROL_URL": "http://a:8900",
}


def test_a_vllm_is_controlled_where_its_channel_is_named():
    settings = Settings.from_environ(CONTROLLED | {"LLMSERVE_REAL_CONTROL_TOKEN": "secret-token"})

    assert settings.real_control_url == "http://a:8900"
    assert "secret-token" not in f"{settings!r}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LLMSERVE_REAL_PROVIDER": "openai"}, "needs LLMSERVE_REAL_PROVIDER=vllm"),
        ({"LLMSERVE_REAL_TIER_URLS": "INT8=http://b/v1"}, "must name the tiers of"),
        ({"LLMSERVE_REAL_SPLIT_URLS": "FP16=http://b/v1"}, "excludes LLMSERVE_REAL_SPLIT_URLS"),
        ({"LLMSERVE_REAL_KV_POOL_TOKENS": "1000"}, "excludes .* LLMSERVE_REAL_KV_POOL_TOKENS"),
        ({"LLMSERVE_REAL_LEASE_S": "1"}, "LLMSERVE_REAL_LEASE_S: .* greater than or equal to 3"),
        (
            {"LLMSERVE_REAL_CONTROL_URL": "", "LLMSERVE_REAL_TIER_CONTROL_URLS": "INT8=http://b"},
            "LLMSERVE_REAL_TIER_CONTROL_URLS needs LLMSERVE_REAL_CONTROL_URL",
        ),
    ],
)
def test_a_channel_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_environ(CONTROLLED | change)
