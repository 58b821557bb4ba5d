"""Runs every query of the example dashboard on a Prometheus that scrapes a server under load.

    uv run python -m scripts.check_dashboard [--prometheus /usr/bin/prometheus] [--write]

The server is started as docs/operations.md says, with a token and a log of JSON; `llmserve doctor`
looks at it first. Prometheus is Debian's package of that name. Exit status 1 if a check of the
doctor is bad, or a query fails or finds nothing. `--write` puts the result into
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from llmserve_env.tasks import shipped_catalogue
from scripts.local_server import ROOT, LocalServer, free_port, local_server
from scripts.reliability_report import write_section

DASHBOARD: Final = ROOT / "docs" / "grafana_dashboard.json"
TOKEN: Final = "a-token-for-this-run-alone"
SCRAPED_EVERY_S: Final = 1
PLAYED_S: Final = 20.0
READY_S: Final = 60.0


def queries() -> list[tuple[str, str]]:
    """Title and query of every target of every panel."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


@contextmanager
def prometheus(binary: Path, server: LocalServer, folder: Path) -> Iterator[str]:
    """The URL of a Prometheus that scrapes this server.

    Raises:
        RuntimeError: If it does not start.
    """
    host, port = server.address
    config = {
        "global": {"scrape_interval": f"{SCRAPED_EVERY_S}s"},
        "scrape_configs": [
            {
                "job_name": "llmserve",
                "authorization": {"credentials": TOKEN},
                "static_configs": [{"targets": [f"{host}:{port}"]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    listen = free_port()
    command = [
        str(binary),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{listen}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{listen}"
            _wait_until_ready(url)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(url: str) -> None:
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError("Prometheus does not get ready")


def keep_busy(server: LocalServer, stop: threading.Event) -> None:
    """Play whole episodes of every task, grade them, and make a mistake now and then."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(
        base_url=server.url, headers=headers, trust_env=False, timeout=60.0
    ) as client:
        seed = 0
        while not stop.is_set():
            for task in shipped_catalogue().tasks:
                seed += 1
                begun = client.post("/reset", json={"task_id": task.task_id, "seed": seed}).json()
                body = {
                    "action": task.default_action.model_dump(mode="json"),
                    "session_id": begun["session_id"],
                }
                for _ in range(task.windows):
                    client.post("/step", json=body)
                client.post("/step", json=body)  # one too many: an error to count
                client.post("/grader", json={"session_id": begun["session_id"]})
                client.delete(f"/sessions/{begun['session_id']}")


def examined(server: LocalServer) -> dict[str, Any]:
    """What `llmserve doctor` says."""
    command = [sys.executable, "-m", "llmserve_env", "doctor", "--url", server.url, "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"LLMSERVE_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    bad = [check["check"] for check in told["checks"] if not check["is_ok"]]
    return {"exit_status": done.returncode, "checks": len(told["checks"]), "bad": bad}


def asked(url: str, query: str) -> dict[str, Any]:
    """What Prometheus answers: how many series, one value, or its error."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False).json()
    if answer["status"] != "success":
        return {"series": 0, "example": answer.get("error", "")}
    found = answer["data"]["result"]
    return {"series": len(found), "example": found[0]["value"][1] if found else ""}


def main(argv: Sequence[str]) -> int:
    """0 if all is well, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prometheus", type=Path, default=Path("/usr/bin/prometheus"))
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    settings = {"LLMSERVE_LOG_FORMAT": "json", "LLMSERVE_TOKEN": TOKEN}
    with (
        tempfile.TemporaryDirectory() as folder,
        local_server(Path(folder) / "log", **settings) as server,
    ):
        doctor = examined(server)
        with prometheus(arguments.prometheus, server, Path(folder)) as url:
            playing = threading.Thread(target=keep_busy, args=(server, stop))
            playing.start()
            time.sleep(PLAYED_S)
            rows = [
                {"panel": title, "query": query} | asked(url, query) for title, query in queries()
            ]
            stop.set()
            playing.join()
    result = {"doctor": doctor, "rows": rows}
    print(json.dumps(result, indent=1))
    if arguments.write:
        write_section("dashboard", result)
    return int(bool(doctor["exit_status"] or not all(row["series"] for row in rows)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
