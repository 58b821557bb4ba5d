import pytest

from scripts.server_facts import cache_facts, check_loopback, read_conditions, vector_units

METRICS = """\
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
vllm:cache_config_info{block_size="128",enable_prefix_caching="False",num_gpu_blocks="512"} 1.0
vllm:num_requests_running{engine="0"} 0.0
"""


def test_the_labels_of_the_cache_are_read():
    assert cache_facts(METRICS) == {
        "block_size": "128",
        "enable_prefix_caching": "False",
        "num_gpu_blocks": "512",
    }


def test_metrics_of_another_server_are_refused():
    with pytest.raises(ValueError, match="it is no vLLM"):
        cache_facts("llamacpp:requests_processing 0\n")


def test_a_server_elsewhere_is_not_measured():
    with pytest.raises(ValueError, match=r"got host 'api\.openai\.com'"):
        read_conditions("https://api.openai.com/v1", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8300/v1", "http://[::1]:8300/v1"])
def test_a_server_on_this_machine_may_be_measured(url):
    check_loopback(url)


def test_the_vector_units_are_named_from_narrow_to_wide():
    assert vector_units({"sse2", "avx512f", "avx2"}) == "avx2, avx512f"
    assert vector_units({"neon"}) == "none"
