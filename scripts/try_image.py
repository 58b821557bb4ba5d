"""Runs the image that scripts/verify_dockerfile.sh built as hosts run it; writes docs/image.md.

    python -m scripts.try_image WORK

WORK holds `root` (the image's files), `inspect.json` (what buildah says of it), `layers` (a
`dir:` copy of it), `first.json` and `again.json` (what its builds took). Each trial is a container
of runc's: it is process 1 in namespaces of its own, without capabilities, within the memory and
CPUs of openenv.yaml. Exits with 1 at the first promise that is not kept.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from agents.result_files import write_text
from scripts.image_container import BrokenPromiseError, Container, Image, Trial
from scripts.image_page import page
from scripts.local_server import ROOT, free_port

PAGE: Final = ROOT / "docs" / "image.md"
MOST_BYTES: Final = 1.2e9
START_LIMIT_S: Final = 30.0  # on a machine that is free: without waiting for a CPU
LONGEST_S: Final = 900.0
PATHS: Final = ("/health", "/web/", "/tasks", "/docs")
HOST_UID, VALIDATOR_UID = 1000, 65532
ABSENT: Final = ("torch", "pytest", "mypy", "nvidia")
TIMED_WARM_UP: Final = """
import time
from simulator.warm_up import warm_up
began_s = time.process_time()
warm_up()
print(time.process_time() - began_s)
"""
NOBODYS_HOME: Final = "/nonexistent"
# Writes below $HOME, and reads and writes what Arrow is for.
IMPORT: Final = """
printf 'timestamp_s,prompt_tokens,output_tokens\\n0,9,9\\n1,9,9\\n' > $HOME/t.csv
python -m llmserve_env trace import $HOME/t.csv -o $HOME/t.parquet
rm $HOME/t.csv $HOME/t.parquet
"""


TRIALS: Final = (
    Trial("a Space: uid 1000", HOST_UID, is_read_only=False),
    Trial("`openenv validate`: uid 65532, read-only root", VALIDATOR_UID, is_read_only=True),
    Trial("the same, home missing", VALIDATOR_UID, True, {"HOME": NOBODYS_HOME}),
    Trial("the same, `HOME` not set", VALIDATOR_UID, True, {"HOME": None}),
)


def serve(image: Image, trial: Trial) -> dict[str, Any]:
    """Start the image's own command, ask it, play two windows, and stop it; what was measured.

    Raises:
        BrokenPromiseError: If it is not well.
    """
    port = free_port()
    listening = {"PORT": str(port), "LLMSERVE_HOST": "127.0.0.1"}
    on_port = Trial(trial.name, trial.uid, trial.is_read_only, dict(trial.variables) | listening)
    began_s = time.monotonic()
    with (
        image.running(on_port, image.config["Cmd"]) as container,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=LONGEST_S
        ) as client,
    ):
        _wait_until_healthy(client, container, began_s)
        wall_s, waited_s = time.monotonic() - began_s, container.waited_s()
        fact: dict[str, Any] = {"trial": trial.name, "wall_s": wall_s}
        fact["healthy_s"] = wall_s - waited_s
        for path in PATHS:
            status = client.get(path).status_code
            _promise(status == 200, f"{trial.name}: {path} answers {status}")
        fact |= _play(client)
        fact["memory_mb"] = container.memory_mb()
        if not trial.is_read_only:
            _exec(container, IMPORT)
        fact["stop_s"], fact["exit_status"] = container.stop()
        _promise(fact["exit_status"] == 0, f"SIGTERM ends it with {fact['exit_status']}")
    _promise(fact["healthy_s"] < START_LIMIT_S, f"{trial.name}: {fact['healthy_s']:.0f} s to start")
    return fact


def _wait_until_healthy(client: httpx.Client, container: Container, began_s: float) -> None:
    while True:
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
        if container.process.poll() is not None or time.monotonic() - began_s > LONGEST_S:
            raise BrokenPromiseError(f"no answer from /health:\n{container.log}")


def _play(client: httpx.Client) -> dict[str, float]:
    told = client.post("/reset", json={"task_id": "adversarial_multitenant", "seed": 1}).json()
    body = {"session_id": told["session_id"], "action": told["observation"]["config"]}
    took_ms = []
    for _ in range(2):
        began_s = time.monotonic()
        client.post("/step", json=body).raise_for_status()
        took_ms.append(1000 * (time.monotonic() - began_s))
    return {"first_step_ms": took_ms[0], "second_step_ms": took_ms[1]}


def _exec(container: Container, line: str) -> None:
    user = f"{HOST_UID}:{HOST_UID}"
    command = ["runc", "exec", "--user", user, container.name, "/bin/sh", "-ec", line]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    _promise(done.returncode == 0, f"{line}: {done.stderr}")


def engine_load_s(image: Image) -> float:
    """CPU seconds that the engine takes until its first window, on a read-only root."""
    trial = Trial("warm-up", VALIDATOR_UID, is_read_only=True)
    with image.running(trial, ["python", "-c", TIMED_WARM_UP]) as container:
        status = container.process.wait(timeout=LONGEST_S)
        if status != 0:
            raise BrokenPromiseError(f"the warm-up ends with {status}: {container.log}")
    return float(container.log.split()[-1])


def kernel_files(image: Image) -> dict[str, float]:
    """Files of compiled code in the image, with the times when they were written."""
    folder = image.root / "app" / ".cache"
    return {path.name: path.stat().st_mtime for path in folder.rglob("*.nb[ic]")}


def contents(image: Image) -> dict[str, Any]:
    """What lies in the image, by bytes; refused if something does that should not."""
    packages = image.root / "app" / ".venv" / "lib" / "python3.11" / "site-packages"
    unwanted = [name for name in ABSENT if any(packages.glob(f"{name}*"))]
    app = {path.name for path in (image.root / "app").iterdir()}
    unwanted += sorted(app & {"tests", "docs", "scripts", ".git", ".env"})
    _promise(not unwanted, f"the image holds {', '.join(unwanted)}")
    manifest = json.loads((image.work / "layers" / "manifest.json").read_text())
    config = json.loads(
        (image.work / "layers" / manifest["config"]["digest"].split(":")[1]).read_text()
    )
    _promise(
        all(layer["mediaType"].endswith("tar") for layer in manifest["layers"]),
        "layers are compressed: their sizes say nothing",
    )
    commands = [each["created_by"] for each in config["history"] if not each.get("empty_layer")]
    layers = [
        {"command": _shortened(command), "bytes": layer["size"]}
        for command, layer in zip(commands, manifest["layers"], strict=True)
    ]
    total = sum(layer["bytes"] for layer in layers)
    _promise(total < MOST_BYTES, f"{total / 1e6:.0f} MB is more than {MOST_BYTES / 1e6:.0f}")
    return {"bytes": total, "layers": layers}


def _shortened(command: str) -> str:
    line = re.sub(r"^/bin/sh -c (#\(nop\) )?|\|\d+ ", "", " ".join(command.split()))
    return re.sub(r"(dir|multi|file):[0-9a-f]{64} in ", "", line).replace("|", "/")[:80]


def _promise(is_kept: bool, otherwise: str) -> None:
    if not is_kept:
        raise BrokenPromiseError(otherwise)


def main(work: Path) -> int:
    """0 if every promise is kept, else 1."""
    inspected = json.loads((work / "inspect.json").read_text())
    image = Image(work, inspected["OCIv1"]["config"])
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        "config": {key: image.config.get(key) for key in ("User", "ExposedPorts", "Cmd")},
        "healthcheck": inspected["Docker"]["config"]["Healthcheck"]["Test"][1:3],
        "build": {
            key: value
            for name in ("first.json", "again.json")
            for key, value in json.loads((work / name).read_text()).items()
        },
    }
    try:
        facts["contents"] = contents(image)
        before = kernel_files(image)
        facts["trials"] = []
        for trial in TRIALS:
            facts["trials"].append(serve(image, trial))
            print(json.dumps(facts["trials"][-1]), flush=True)
        _promise(before != {} and kernel_files(image) == before, "the kernel was compiled again")
        facts["kernel"] = {
            "files": len(before),
            "loaded_s": engine_load_s(image),
        }
    except BrokenPromiseError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    write_text(PAGE, page(facts))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
