#!/usr/bin/env bash
# Holds the server to its contract under both names of OpenEnv: openenv 0.10 and openenv-core 0.3.0.
# Each gets a virtual environment of its own (both ship the same import packages), the locked
# dependencies, the contract tests over a real socket, and its own `openenv validate`, of a copy of
# the project and of a running server. Needs uv, git and a package index; takes some minutes.
#
# Run: scripts/check_openenv_versions.sh [folder to keep the environments in]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
server_pid=
trap '[ -z "$server_pid" ] || kill "$server_pid"; [ $# -gt 0 ] || rm -rf "$work"' EXIT
export NO_PROXY=127.0.0.1,localhost NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-$work/numba}"

uv export --quiet --frozen --no-hashes --no-emit-project --no-emit-package openenv > "$work/needs.txt"

copy_project() ( # folder: what git tracks and would track, so that nothing changes during the run
    mkdir -p "$1"
    find "$1" -mindepth 1 -delete
    cd "$root"
    git ls-files --cached --others --exclude-standard -z |
        xargs -0 sh -c 'for name; do [ ! -f "$name" ] || printf "%s\0" "$name"; done' _ |
        tar --null --files-from=- -cf - | tar -xf - -C "$1"
)

validate_running_server() { # environment
    local port
    port=$("$1/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    LLMSERVE_HOST=127.0.0.1 PORT=$port "$1/bin/python" -m server.app > "$1/server.log" 2>&1 &
    server_pid=$!
    for _ in $(seq 180); do
        "$1/bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/health', timeout=2)" \
            2> /dev/null && break
        sleep 1
    done
    "$1/bin/openenv" validate --url "http://127.0.0.1:$port"
    kill "$server_pid"
    wait "$server_pid" || true
    server_pid=
}

check() { # name, requirement
    local environment=$work/$1 copy=$work/copy/llmserve_env
    echo "== $2"
    uv venv --quiet --python 3.11 --allow-existing "$environment"
    uv pip install --quiet --python "$environment/bin/python" -r "$work/needs.txt" "$2"
    copy_project "$copy"
    uv pip install --quiet --python "$environment/bin/python" --no-deps "$copy"  # AutoEnv reads its metadata
    cd "$copy" # an edit of the tree meanwhile changes nothing
    "$environment/bin/python" -m simulator.warm_up  # else a slow machine's first server is too late
    "$environment/bin/python" -m pytest -q -p no:cacheprovider \
        tests/contract/test_http.py tests/contract/test_websocket.py tests/contract/test_isolation.py \
        tests/contract/test_client.py tests/contract/test_grader.py
    validate_running_server "$environment"
    copy_project "$copy" # as it was before the tests
    "$environment/bin/openenv" validate .
    if [ "$1" = openenv ]; then
        "$environment/bin/openenv" validate . --level static
        "$environment/bin/python" "$root/scripts/validate_openenv_runtime.py"
    fi
    cd "$root"
}

check openenv 'openenv>=0.10,<0.11'
check openenv-core 'openenv-core==0.3.0'
echo "both versions hold the contract"
