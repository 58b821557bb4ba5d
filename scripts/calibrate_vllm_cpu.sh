#!/usr/bin/env bash
# Starts vLLM on one core, runs `llmserve calibrate run --send` on it, and ends it again.
#
# What it measures goes to docs/calibrate/, unless another folder is given; scripts/calibrate_page.py
# makes docs/calibrate.md of it. Killed, the same command goes on. About 8 minutes.
#
# Usage: scripts/calibrate_vllm_cpu.sh VENV MODEL_DIR PORT [FOLDER] [options of calibrate run]
set -euo pipefail

usage="usage: calibrate_vllm_cpu.sh VENV MODEL_DIR PORT [FOLDER] [options of calibrate run]"
venv=${1:?$usage}
model_dir=${2:?$usage}
port=${3:?$usage}
folder=${4:-docs/calibrate}
shift $(($# < 4 ? $# : 4))
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}

SPECULATION=0 "$root/scripts/serve_vllm_cpu.sh" "$venv" "$model_dir" "$port" >"$folder.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true' EXIT
for _ in $(seq 240); do
    curl --silent --fail --max-time 2 "http://127.0.0.1:$port/health" >/dev/null && break
    kill -0 $server || { echo "vLLM has ended: see $folder.log" >&2; exit 1; }
    sleep 1
done
cd "$root"
"$python" -m llmserve_env calibrate run --url "http://127.0.0.1:$port/v1" --model tiny \
    --profile cpu-tiny --max-num-seqs 64 --max-num-batched-tokens 2048 --max-model-len 2048 \
    --plan quick --out "$folder" --send "$@"
