#!/usr/bin/env bash
# Serves the tiny model by vLLM on one core, with live knobs; what setup_vllm_cpu.sh made.
#
# The API is at http://127.0.0.1:PORT/v1, the control channel at port PORT + 1. It starts in half a
# minute; TERM to this process ends all of vLLM's. Everything after PORT is passed on to vLLM:
#
#   scripts/serve_vllm_cpu.sh /tmp/vllm-venv /tmp/tiny-llama 8300 --num-gpu-blocks-override 64
#
# Usage: scripts/serve_vllm_cpu.sh VENV MODEL_DIR PORT [options of vllm serve]
#   CORES=0         the cores that compute, as VLLM_CPU_OMP_THREADS_BIND takes them
#   SPECULATION=8   draft tokens by n-gram at most; 0 starts without speculation
#   TOKEN_FILE=     a file with the control channel's token; none by default
set -euo pipefail

usage="usage: serve_vllm_cpu.sh VENV MODEL_DIR PORT [options of vllm serve]"
venv=${1:?$usage}
model_dir=${2:?$usage}
port=${3:?$usage}
shift 3

export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export VLLM_CPU_KVCACHE_SPACE=${KV_GB:-1} VLLM_CPU_OMP_THREADS_BIND=${CORES:-0}
export PATH=$venv/bin:$PATH

speculation=()
if [ "${SPECULATION:-8}" -gt 0 ]; then
    speculation=(--speculative-config "{\"method\": \"ngram\",
        \"num_speculative_tokens\": ${SPECULATION:-8}, \"prompt_lookup_min\": 2}")
fi
control="{\"llmserve\": {\"control_port\": $((port + 1))}}"
if [ -n "${TOKEN_FILE:-}" ]; then
    control="{\"llmserve\": {\"control_port\": $((port + 1)), \"token_file\": \"$TOKEN_FILE\"}}"
fi

exec vllm serve "$model_dir" --served-model-name tiny --host 127.0.0.1 --port "$port" \
    --dtype float32 --max-model-len 2048 --max-num-seqs 64 --max-num-batched-tokens 2048 \
    --enforce-eager --no-enable-prefix-caching \
    --scheduler-cls llmserve_vllm.scheduler.TunableScheduler --additional-config "$control" \
    ${speculation[@]+"${speculation[@]}"} "$@"
