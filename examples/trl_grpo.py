"""GRPO of TRL on a language model that turns the knobs by calling tools; rollouts run here.

    uv run --extra trl python examples/trl_grpo.py --task bursty_workload --steps 3 --out runs/grpo
    uv run --extra trl python examples/trl_grpo.py --model Qwen/Qwen3-0.6B --warm-up-steps 0

Without --model it makes a tiny model with random weights and a tokenizer of its own, so that the
whole loop runs on a CPU without any download, and teaches it for some steps what a call of the tool
looks like: random weights would never call one. It shows that the loop works, not that anything
is learnt; for that take a model that can follow the briefing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen2_5_chat_template

from agents.trl_env import ServingTools, episode_reward
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import shipped_catalogue
from simulator.rng import stream

ASK = "Set the knobs by calling apply_config until the episode is over.\n"
END, PAD, START = "<|im_end|>", "<|endoftext|>", "<|im_start|>"
VOCABULARY = 1_024
CONTEXT_TOKENS = 8_192
ROLLOUTS = 4  # of one prompt, compared with each other
CALLS = 3  # of tools in a rollout
CALL_TOKENS = 96
WARM_UP_PROMPTS = 4
WARM_UP_RATE = 3e-3


def prompts(task_id: str, rows: int) -> list[dict[str, Any]]:
    """Rows of the data set: the same question, each with a training seed of its own."""
    ask = [{"role": "user", "content": ASK}]
    return [
        {"prompt": ask, "task_id": task_id, "seed": seed} for seed in split_seeds("train", rows)
    ]


def calls(rng: np.random.Generator) -> Iterator[str]:
    """Calls of the tool with random knobs, as the tiny model's chat template writes them."""
    while True:
        arguments = {
            "batch_cap": int(rng.choice([16, 32, 64, 128, 256])),
            "kv_budget_fraction": float(rng.choice([0.3, 0.5, 0.7, 0.9])),
            "hold_windows": int(rng.choice([10, 20, 30])),
        }
        call = json.dumps({"name": "apply_config", "arguments": arguments})
        yield f"<tool_call>\n{call}\n</tool_call>{END}"


def tiny_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on these texts, with a chat template that knows tools."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=qwen2_5_chat_template,
    )


def tiny_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """A transformer of 0.7 million random weights."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT_TOKENS,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def warm_up(
    model: Any, tokenizer: Any, asked: Sequence[str], answers: Iterator[str], steps: int
) -> None:
    """Teach the model to answer each of these texts with a call, whichever; prints the loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=WARM_UP_RATE)
    for step in range(steps):
        before = tokenizer(asked[step % len(asked)])["input_ids"]
        after = tokenizer(next(answers))["input_ids"]
        labels = torch.tensor([[-100] * len(before) + after])
        loss = model(input_ids=torch.tensor([before + after]), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == steps - 1:
            print(f"warm-up step {step}: loss {loss.item():.3f}", flush=True)


def made_here(rows: Sequence[dict[str, Any]], *, seed: int, warm_up_steps: int) -> tuple[Any, Any]:
    """The tiny model, taught what a call looks like, and its tokenizer."""
    torch.manual_seed(seed)
    tools = ServingTools()
    schemas = [get_json_schema(tool) for tool in (tools.apply_config, tools.forecast)]
    told = [ASK + tools.reset(**row) for row in rows[:WARM_UP_PROMPTS]]
    answers = calls(stream(seed, "examples/trl_grpo"))
    corpus = [*told, *(json.dumps(schema) for schema in schemas), qwen2_5_chat_template]
    corpus += [next(answers) for _ in range(50)]
    tokenizer = tiny_tokenizer([*corpus, tools.apply_config(hold_windows=8)])
    model = tiny_model(tokenizer)
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tools=schemas,
            add_generation_prompt=True,
            tokenize=False,
        )
        for text in told
    ]
    warm_up(model, tokenizer, asked, answers, warm_up_steps)
    return model, tokenizer


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    task_ids = [task.task_id for task in shipped_catalogue().playable]
    parser.add_argument("--task", choices=task_ids, default="bursty_workload")
    parser.add_argument("--steps", type=int, default=3, help="updates of the policy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--model", help="a folder or a name of Hugging Face; a tiny one if left out"
    )
    parser.add_argument("--warm-up-steps", type=int, default=300, help="of the tiny model")
    parser.add_argument("--out", type=Path, default=Path("runs/trl_grpo"))
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Train."""
    given = parse_arguments(argv)
    torch.set_num_threads(1)
    rows = prompts(given.task, max(given.steps, WARM_UP_PROMPTS))
    if given.model is None:
        model, tokenizer = made_here(rows, seed=given.seed, warm_up_steps=given.warm_up_steps)
    else:
        model = AutoModelForCausalLM.from_pretrained(given.model)
        tokenizer = AutoTokenizer.from_pretrained(given.model)
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        environment_factory=ServingTools,
        reward_funcs=episode_reward,
        args=GRPOConfig(
            output_dir=str(given.out),
            max_steps=given.steps,
            per_device_train_batch_size=ROLLOUTS,
            num_generations=ROLLOUTS,
            max_completion_length=CONTEXT_TOKENS // 2,
            max_tool_calling_iterations=CALLS,
            generation_kwargs={"max_new_tokens": CALL_TOKENS},
            use_cpu=not torch.cuda.is_available(),
            seed=given.seed,
            logging_steps=1,
            log_completions=False,
            save_strategy="no",
            report_to="none",
        ),
    )
    trainer.train()
    trainer.save_model(str(given.out))
    lines = [json.dumps(row) for row in trainer.state.log_history]
    (given.out / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
