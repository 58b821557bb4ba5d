"""Serves a tiny random Llama by llama.cpp, to play real mode on: no download, no GPU.

In an environment of its own, because none of this is needed by the project:

    uv venv /tmp/llama && uv pip install --python /tmp/llama xllamacpp gguf tokenizers numpy
    /tmp/llama/bin/python scripts/serve_tiny_llama.py --port 8200

The model says nothing sensible. Its tokenizer is trained on Python's standard library.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sysconfig
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ("<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 4096
CONTEXT_TOKENS = 4096
TRAINING_FILES = 60
WEIGHT_SCALE = 0.02


def main() -> None:
    """Make the model, serve it and say where, until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8200)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256, help="a multiple of 64")
    parser.add_argument("--parallel", type=int, default=8, help="requests that run at once")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        write_model(path, layers=options.layers, hidden=options.hidden)
        server = start(path, options)
        print(f"{server.listening_address}/v1", flush=True)
        stopped = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopped.set())
        stopped.wait()


def write_model(path: Path, *, layers: int, hidden: int) -> None:
    """Write a random Llama in F16, with a tokenizer, a chat template and room for 4096 tokens."""
    gguf: Any = importlib.import_module("gguf")
    tokens, merges = train_tokenizer()
    heads = hidden // 64
    inner = (hidden * 8 // 3 + 63) // 64 * 64
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny-random-llama")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(64)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = gguf.TokenType
    writer.add_token_types([kinds.CONTROL if t in SPECIAL else kinds.NORMAL for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    add_weights(writer, layers=layers, hidden=hidden, inner=inner, vocabulary=len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_weights(writer: Any, *, layers: int, hidden: int, inner: int, vocabulary: int) -> None:
    """Add normal random matrices and norms of one."""
    rng = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = rng.standard_normal((rows, columns)) * WEIGHT_SCALE
        writer.add_tensor(name, values.astype(np.float16))

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(hidden, np.float32))

    matrix("token_embd.weight", vocabulary, hidden)
    for layer in range(layers):
        prefix = f"blk.{layer}."
        norm(f"{prefix}attn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{prefix}{name}.weight", hidden, hidden)
        norm(f"{prefix}ffn_norm.weight")
        matrix(f"{prefix}ffn_gate.weight", inner, hidden)
        matrix(f"{prefix}ffn_up.weight", inner, hidden)
        matrix(f"{prefix}ffn_down.weight", hidden, inner)
    norm("output_norm.weight")


def train_tokenizer() -> tuple[list[str], list[str]]:
    """Tokens in order of their ids, and merges, of a byte-level BPE."""
    tokenizers: Any = importlib.import_module("tokenizers")
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=sorted(byte_level.alphabet()),
    )
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:TRAINING_FILES]
    tokenizer.train([str(source) for source in sources], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tokens, [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]


def start(path: Path, options: argparse.Namespace) -> Any:
    """llama.cpp's own server with continuous batching; it serves until it is let go of."""
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {"tiny"}
    params.port, params.hostnames = options.port, ["127.0.0.1"]
    params.n_parallel = options.parallel
    params.n_ctx = CONTEXT_TOKENS * options.parallel
    params.cont_batching, params.warmup, params.cache_prompt = True, False, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.verbosity = 1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
