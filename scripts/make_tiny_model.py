"""Writes a tiny random Llama and its tokenizer as a folder that vLLM can serve: no download.

Runs in vLLM's environment, which has transformers and tokenizers:

    /tmp/vllm-venv/bin/python scripts/make_tiny_model.py /tmp/tiny-llama

The model says nothing sensible. Eight layers of 512 make a step bound by memory bandwidth, as on a
GPU. Its tokenizer is trained on Python's standard library.
"""

from __future__ import annotations

import argparse
import importlib
import sysconfig
from pathlib import Path
from typing import Any

SPECIAL = ("<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TRAINING_FILES = 120
HEAD_SIZE = 64


def main() -> None:
    """Write the model and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 128")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--context", type=int, default=4096, help="tokens")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    tokens = write_tokenizer(options.folder, options.vocabulary, options.context)
    parameters = write_model(options, vocabulary=tokens)
    print(f"{options.folder}: {parameters / 1e6:.1f} M parameters, {tokens} tokens")


def write_tokenizer(folder: Path, vocabulary: int, context: int) -> int:
    """Train byte-level BPE with a chat template; return how many tokens it knows."""
    tk: Any = importlib.import_module("tokenizers")
    transformers: Any = importlib.import_module("transformers")
    tokenizer = tk.Tokenizer(tk.models.BPE())
    tokenizer.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tk.decoders.ByteLevel()
    trainer = tk.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=tk.pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:TRAINING_FILES]
    tokenizer.train([str(text) for text in texts], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=context,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return len(fast)


def write_model(options: argparse.Namespace, *, vocabulary: int) -> int:
    """Draw the weights from the seed and write them; return how many there are."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    heads = options.hidden // HEAD_SIZE
    torch.manual_seed(options.seed)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=options.hidden,
        intermediate_size=(options.hidden * 8 // 3 + 63) // 64 * 64,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=options.context,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(options.folder, safe_serialization=True)
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
