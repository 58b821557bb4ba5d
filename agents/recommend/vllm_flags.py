"""A constant setting -> the flags of `vllm serve` that put it into force, as of vLLM 0.32."""

from __future__ import annotations

import json
import math
import shlex
from typing import Any, Final

from agents.recommend.ask import Ask
from agents.recommend.constants import Candidate
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment
from simulator.hardware import BYTES_PER_GB

MODEL_PLACEHOLDER: Final = "MODEL"
DRAFT_PLACEHOLDER: Final = "EAGLE_DRAFT_MODEL"
FLAGS_OF_VERSION: Final = "0.32.0"
PREFILL_PORT, DECODE_PORT = 8100, 8200


def serve_commands(ask: Ask, task: TaskSpec, candidate: Candidate) -> list[str]:
    """The commands to start: one, or two where prefill and decode are split.

    Args:
        ask: The question.
        task: The deployment.
        candidate: The setting.
    """
    arguments = _arguments(ask, task, candidate)
    if not candidate.action.prefill_decode_split:
        if ask.gpus > 1:
            arguments["--data-parallel-size"] = ask.gpus
        return [_command(arguments)]
    pairs = ((PREFILL_PORT, "kv_producer"), (DECODE_PORT, "kv_consumer"))
    return [
        _command(
            arguments
            | {
                "--port": port,
                "--kv-transfer-config": json.dumps(
                    {"kv_connector": "NixlConnector", "kv_role": role}
                ),
            }
        )
        for port, role in pairs
    ]


def flag_notes(task: TaskSpec, candidate: Candidate) -> list[str]:
    """What the flags cannot say."""
    tier = build_deployment(task).profile.tier(candidate.action.quantization_tier)
    notes = [f"{MODEL_PLACEHOLDER}: {_weights(tier.kernel, task)}."]
    if candidate.action.speculation_depth:
        notes.append(
            f"{DRAFT_PLACEHOLDER}: an EAGLE head for the model; without one, leave "
            "--speculative-config out and look at the alternative without drafts."
        )
    notes.append(
        "--kv-cache-memory-bytes takes the place of --gpu-memory-utilization: what is not "
        "reserved is free for others on the same GPU."
    )
    if task.deployment.memory_limit_gb < build_deployment(task).profile.gpu.memory_bytes / 1e9:
        notes.append(
            f"Weights, activations and KV cache together stay within the "
            f"{task.deployment.memory_limit_gb:g} GB that were granted."
        )
    if candidate.action.prefill_decode_split:
        notes.append("Both servers need a proxy in front that sends prompts to the first one.")
    return notes


def kv_cache_bytes(task: TaskSpec, candidate: Candidate) -> int:
    """What the setting reserves for KV on each GPU."""
    deployment = build_deployment(task)
    pool = deployment.pool_blocks(candidate.action.quantization_tier)
    blocks = math.floor(candidate.action.kv_budget_fraction * pool)
    serving, model = deployment.profile.serving, deployment.profile.model
    return blocks * serving.kv_block_tokens * model.kv_bytes_per_token


def _arguments(ask: Ask, task: TaskSpec, candidate: Candidate) -> dict[str, Any]:
    action = candidate.action
    kernel = build_deployment(task).profile.tier(action.quantization_tier).kernel
    arguments: dict[str, Any] = {
        "--max-num-seqs": action.batch_cap,
        "--max-num-batched-tokens": candidate.token_budget,
        "--max-model-len": task.deployment.max_model_len_tokens,
        "--kv-cache-memory-bytes": kv_cache_bytes(task, candidate),
        "--scheduling-policy": "priority" if action.priority_routing else "fcfs",
    }
    if kernel == "fp8":
        arguments["--quantization"] = "fp8"
    if action.speculation_depth:
        arguments["--speculative-config"] = json.dumps(
            {
                "method": "eagle",
                "model": DRAFT_PLACEHOLDER,
                "num_speculative_tokens": action.speculation_depth,
            }
        )
    if ask.switching == "standby":
        arguments["--enable-sleep-mode"] = None
    return arguments


def _weights(kernel: str, task: TaskSpec) -> str:
    """Which weights to serve."""
    profile = build_deployment(task).profile
    name = profile.model.name
    if kernel == "sq":
        return f"a W8A8 checkpoint of {name} (compressed-tensors), which vLLM recognises"
    if kernel == "int4_wo":
        return f"a W4A16 checkpoint of {name} (GPTQ or AWQ), which vLLM recognises"
    if kernel == "fp8":
        return f"{name}; --quantization fp8 converts the weights at the start"
    return f"{name}, in {kernel}"


def _command(arguments: dict[str, Any]) -> str:
    words = ["vllm", "serve", MODEL_PLACEHOLDER]
    for flag, value in arguments.items():
        words += [flag] if value is None else [flag, shlex.quote(str(value))]
    return " ".join(words)


def reserved_gb(task: TaskSpec, candidate: Candidate) -> float:
    """Weights, activations and KV cache on each GPU."""
    profile = build_deployment(task).profile
    fixed = profile.tier(candidate.action.quantization_tier).weight_bytes
    fixed += profile.serving.activation_bytes
    return (fixed + kv_cache_bytes(task, candidate)) / BYTES_PER_GB
