#!/usr/bin/env bash
# Builds the image without a Docker engine and tries it as a host would. About five minutes.
#
# Needs root on Debian with: apt-get install buildah crun debootstrap
# The base image is stood in for by Debian bookworm, whose Python is 3.11 too.
# Usage: scripts/verify_dockerfile.sh [folder to work in, kept between runs]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=${1:-$(mktemp -d)}
base=docker.io/library/python:3.11-slim
image=llmserve-env
ca_bundle=/etc/ssl/certs/ca-certificates.crt
port=17860
server_pid=
container=
root=

export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
export CONTAINERS_STORAGE_CONF="$work/storage.conf"
mkdir -p "$work"
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$work" "$work" \
    >"$CONTAINERS_STORAGE_CONF"

clean_up() {
    [ -z "$server_pid" ] || kill -- "-$server_pid" 2>/dev/null || true
    [ -z "$container" ] || buildah rm "$container" >/dev/null
}
trap clean_up EXIT

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

# serve_as UID MODE: starts the image's command as that user; MODE is rw or ro, for the root.
serve_as() {
    local as_uid=$1 mode=$2
    setsid unshare --mount bash -c '
        set -eu
        root=$1 as_uid=$2 mode=$3 port=$4
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount -t tmpfs tmpfs "$root/dev"
        mkdir -m 1777 "$root/dev/shm"
        for device in null zero random urandom; do
            touch "$root/dev/$device"
            mount --bind "/dev/$device" "$root/dev/$device"
        done
        mount -o "remount,bind,$mode" "$root"
        readarray -t variables < <(buildah inspect --type image \
            --format "{{range .OCIv1.Config.Env}}{{println .}}{{end}}" "$5")
        exec env -i "${variables[@]}" PORT="$port" chroot --userspec="$as_uid:$as_uid" "$root" \
            /bin/sh -c "cd /app && exec python -m server.app"
    ' serve "$root" "$as_uid" "$mode" "$port" "$image" >"$work/serve_$as_uid.log" 2>&1 &
    server_pid=$!
}

stop_server() {
    kill -- "-$server_pid"
    wait "$server_pid" 2>/dev/null || true
    server_pid=
}

status_of() { curl --silent --output /dev/null --write-out '%{http_code}' --location "$1" || true; }

wait_until_healthy() {
    local began=$SECONDS
    until [ "$(status_of "http://127.0.0.1:$port/health")" = 200 ]; do
        kill -0 "$server_pid" 2>/dev/null || fail "the server died: $(tail -n 5 "$1")"
        [ $((SECONDS - began)) -lt 120 ] || fail "not healthy after 120 s: $(tail -n 5 "$1")"
        sleep 0.5
    done
    printf 'healthy after %d s\n' $((SECONDS - began))
}

# expect_alike FILE FILE
expect_alike() { cmp "$1" "$2" || fail "$1 and $2 differ"; }

step "both Dockerfiles are the same"
expect_alike Dockerfile server/Dockerfile

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    step "a stand-in for $base"
    make_base
fi

step "build"
buildah bud --layers --format docker --pull-never --tag "$image" . >"$work/build.log" 2>&1 ||
    fail "the build: $(tail -n 20 "$work/build.log")"

step "what the image says"
buildah inspect --type image --format \
    '{{println "user" .OCIv1.Config.User "ports" .OCIv1.Config.ExposedPorts "command" .OCIv1.Config.Cmd}}{{println .Docker.Config.Healthcheck.Test}}' "$image"
container=$(buildah from --pull-never "$image")
root=$(buildah mount "$container")
du -sh --apparent-size "$root" | awk '{ print "size " $1 }'
[ ! -d "$root"/app/.venv/lib/python3.11/site-packages/torch ] || fail "torch is in the image"

step "as uid 1000"
serve_as 1000 rw
wait_until_healthy "$work/serve_1000.log"
for path in /health /web/ /tasks /docs; do
    code=$(status_of "http://127.0.0.1:$port$path")
    printf '%s %s\n' "$code" "$path"
    [ "$code" = 200 ] || fail "$path answers $code"
done
stop_server

step "as uid 65532 on a read-only root, nothing writable but /tmp and /dev/shm"
serve_as 65532 ro
wait_until_healthy "$work/serve_65532.log"
curl --silent --fail --json '{"task_id": "static_workload", "seed": 1}' \
    "http://127.0.0.1:$port/reset" >/dev/null || fail "/reset on a read-only root"
stop_server

step "passed"
