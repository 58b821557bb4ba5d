"""One static prediction of AIConfigurator; needs only aiconfigurator-core.

PEER_PYTHON scripts/peer_aiconfigurator.py BATCH PROMPT_TOKENS OUTPUT_TOKENS
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

MODEL, SYSTEM, BACKEND, BACKEND_VERSION = (
    "meta-llama/Meta-Llama-3.1-8B",
    "a100_sxm",
    "trtllm",
    "1.0.0",
)


def main() -> None:
    """Print TTFT of one prompt and the time per token of a batch, in milliseconds."""
    batch, prompt, output = map(int, sys.argv[1:4])
    from aiconfigurator_core.sdk.engine import EngineHandle

    engine = EngineHandle.compile(
        MODEL,
        SYSTEM,
        BACKEND,
        backend_version=BACKEND_VERSION,
        tp_size=1,
        gemm_quant_mode="bfloat16",
        kvcache_quant_mode="bfloat16",
        fmha_quant_mode="bfloat16",
    )
    prefill = engine.run_static_per_op(batch_size=1, isl=prompt, osl=1, mode="static_ctx")[0]
    middle = prompt + output // 2
    decode = engine.run_static_per_op(batch_size=batch, isl=middle, osl=2, mode="static_gen")[1]
    result = {
        "version": version("aiconfigurator-core"),
        "ttft_ms": sum(ms for _, ms, _, _ in prefill),
        "tpot_ms": sum(ms for _, ms, _, _ in decode),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
