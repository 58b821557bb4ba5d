"""Small recordings in the formats of other tools, made up by hand for the tests."""

import json

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:00:00.0000000,100,10
2023-11-16 18:00:00.2500000,200,20
2023-11-16 18:00:02.0000001,300,30
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.000000+00:00,100,10
2024-05-10 00:00:01.500000+00:00,200,20
"""
BURSTGPT_V1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,100,10,110,Conversation log
6,ChatGPT,200,0,200,API log
8,GPT-4,300,30,330,API log
"""
BURSTGPT_V3 = """Timestamp,Session ID,Model,Request tokens,Response tokens,Log Type
100.0,alice-1,GPT-4,100,10,Conversation log
160.0,bob-7,ChatGPT,200,20,Conversation log
170.0,alice-1,ChatGPT,300,30,Conversation log
"""
VIDUR = """arrived_at,num_prefill_tokens,num_decode_tokens
0.5,100,10
2.0,200,20
"""
LITELLM = """request_id,startTime,endTime,model,prompt_tokens,completion_tokens,status,messages
a,2025-01-01T00:00:00Z,2025-01-01T00:00:01Z,m1,100,10,success,"first
line, then another"
b,2025-01-01T00:00:01Z,2025-01-01T00:00:02Z,m1,0,0,failure,secret
c,2025-01-01T00:00:03Z,2025-01-01T00:00:04Z,m2,300,30,success,secret
"""


def lines(*objects):
    return "".join(json.dumps(each) + "\n" for each in objects)


MOONCAKE = lines(
    {"timestamp": 0, "input_length": 1100, "output_length": 10, "hash_ids": [0, 1, 2]},
    {"timestamp": 0, "input_length": 1200, "output_length": 20, "hash_ids": [0, 1, 3]},
    {"timestamp": 0, "input_length": 300, "output_length": 30, "hash_ids": [7]},
    {"timestamp": 3000, "input_length": 500, "output_length": 40, "hash_ids": [0]},
    {"timestamp": 3000, "input_length": 600, "output_length": 50, "hash_ids": [9, 1]},
    {"timestamp": 3000, "input_length": 600, "output_length": 50, "hash_ids": [8]},
)
BAILIAN = lines(
    {
        "chat_id": 1,
        "parent_chat_id": -1,
        "timestamp": 10.5,
        "input_length": 40,
        "output_length": 10,
        "type": "text",
        "turn": 1,
        "hash_ids": [1, 2, 3],
    },
    {
        "chat_id": 2,
        "parent_chat_id": 1,
        "timestamp": 12.0,
        "input_length": 60,
        "output_length": 20,
        "type": "search",
        "turn": 2,
        "hash_ids": [1, 2, 4],
    },
)
RAGPULSE = lines(
    {
        "timestamp": "10",
        "input_length": 100,
        "output_length": 10,
        "hash_ids": {"sys_prompt": [1]},
        "session_id": "a",
    },
    {
        "timestamp": "14",
        "input_length": 200,
        "output_length": 20,
        "hash_ids": {"sys_prompt": [1]},
        "session_id": "b",
    },
)
OPENAI = lines(
    {
        "id": "1",
        "created": 1_750_000_000,
        "model": "m",
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
        "choices": [{"message": {"content": "a secret answer"}}],
    },
    {"id": "2", "created": 1_750_000_001, "model": "m", "usage": None},
    {
        "id": "3",
        "created": 1_750_000_060,
        "model": "m",
        "usage": {"input_tokens": 300, "output_tokens": 30},
    },
)
VLLM = json.dumps(
    {
        "input_lens": [100, 200, 300],
        "output_lens": [10, 0, 30],
        "ttfts": [0.1, 0.0, 0.2],
        "itls": [[0.01], [], [0.02]],
        "start_times": [5000.5, 5001.0, 5002.5],
        "errors": ["", "timed out", ""],
        "generated_texts": ["a secret answer", "", ""],
    }
)


def _span(start_ns, attributes, **more):
    listed = [{"key": key, "value": {"intValue": str(value)}} for key, value in attributes.items()]
    return {"startTimeUnixNano": str(start_ns), "attributes": listed, **more}


_USED = {"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 10}
_USED_TODAY = {"gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 30}
OTLP = lines(
    {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            _span(1_750_000_000_000_000_000, _USED, name="llm_request"),
                            _span(1_750_000_000_100_000_000, {"http.status": 200}),
                            _span(1_750_000_001_000_000_000, _USED, status={"code": 2}),
                            _span(1_750_000_002_500_000_000, _USED_TODAY, name="chat m"),
                        ]
                    }
                ]
            }
        ]
    }
)


def _aiperf(start_ns, prompt, output, **about):
    metrics = {
        "input_sequence_length": {"value": prompt, "unit": "tokens"},
        "output_sequence_length": {"value": output, "unit": "tokens"},
    }
    return {"metadata": {"request_start_ns": start_ns, **about}, "metrics": metrics, "error": None}


AIPERF = lines(
    _aiperf(1_750_000_000_000_000_000, 50, 5, benchmark_phase="warmup"),
    _aiperf(1_750_000_001_000_000_000, 100, 10, benchmark_phase="profiling"),
    _aiperf(1_750_000_002_000_000_000, 200, 20, was_cancelled=True),
    _aiperf(1_750_000_003_000_000_000, 300, 30, conversation_id="c"),
)
GUIDELLM = json.dumps(
    {
        "benchmarks": [
            {
                "requests": {
                    "successful": [
                        {
                            "request_start_time": 1_750_000_002.5,
                            "prompt_tokens": 300,
                            "output_tokens": 30,
                            "output": "a secret answer",
                        },
                        {
                            "request_start_time": 1_750_000_000.0,
                            "prompt_tokens": 100,
                            "output_tokens": 10,
                        },
                    ],
                    "errored": [{"request_start_time": 1_750_000_001.0}],
                    "incomplete": [],
                }
            }
        ]
    },
    indent=2,
)
KV_CACHE_TESTER = json.dumps(
    {
        "id": "trace_1",
        "block_size": 64,
        "requests": [
            {"t": 0.0, "type": "n", "in": 200, "out": 10, "hash_ids": [1, 2, 3]},
            {"t": 9.0, "type": "n", "in": 260, "out": 20, "hash_ids": [1, 2, 3, 4]},
            {"t": 12.0, "type": "subagent", "requests": []},
        ],
    }
)
NATIVE = """timestamp_s,prompt_tokens,output_tokens,priority,tenant
12.0,300,30,2,batch
10.0,100,10,0,chat
10.5,200,20,1,chat
"""
