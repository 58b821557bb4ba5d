"""What the project is delivered with: a bill of materials, licences, hashes, known weaknesses.

    uv run --frozen python -m scripts.audit_dependencies [--sbom FILE] [--require-audit]

The bill (CycloneDX 1.5) is uv's of the lock file, with the licence that each installed package
states. Refused are packages without a hash, and licences that would bind a program that uses them.
pip-audit asks a service on the internet for known weaknesses: where that cannot be reached the part
is skipped, which is said, and is an error with --require-audit. Exits with 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SBOM: Final = ROOT / "build" / "sbom.cdx.json"
SERVICE: Final = "api.osv.dev"
PIP_AUDIT: Final = "pip-audit==2.10.1"
CONNECT_LIMIT_S: Final = 3.0
# Each would put whoever passes the image on under its own terms; LGPL and MPL do not.
BINDING: Final = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|General Public License", re.IGNORECASE)
EXPORT: Final = ("export", "--frozen", "--no-dev", "--quiet")


def bill(uv: str) -> dict[str, Any]:
    """The bill of materials of what is delivered; extras and development tools are not."""
    exported = _run(uv, *EXPORT, "--format", "cyclonedx1.5")
    document: dict[str, Any] = json.loads(exported)
    for component in document["components"]:
        licence = licence_of(component["name"])
        if licence is not None:
            component["licenses"] = [{"license": {"name": licence}}]
    return document


def licence_of(name: str) -> str | None:
    """What an installed package states; None if it is not installed or says nothing."""
    try:
        said = metadata(name).json
    except PackageNotFoundError:
        return None
    classifiers = [
        each.rsplit(" :: ", 1)[-1]
        for each in said.get("classifier", [])
        if each.startswith("License :: ")
    ]
    free_text = str(said.get("license", "")).splitlines()[:1]
    expression = said.get("license_expression")
    return str(expression or ", ".join(classifiers) or "".join(free_text)[:80]) or None


def problems(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with the packages of a bill, a sentence each."""
    found = []
    for component in document["components"]:
        name = f"{component['name']} {component['version']}"
        archives = component.get("externalReferences", [])
        if not archives or not all(archive.get("hashes") for archive in archives):
            found.append(f"{name} has no hash")
        for stated in component.get("licenses", []):
            licence = stated["license"]["name"]
            if BINDING.search(licence.replace("Lesser General Public License", "LGPL")):
                found.append(f"{name} is under {licence}")
    return found


def audit(uv: str) -> str:
    """What pip-audit says of the lock file.

    Raises:
        ConnectionError: If its service cannot be reached.
        subprocess.CalledProcessError: If it knows a weakness, or fails.
    """
    try:
        socket.create_connection((SERVICE, 443), timeout=CONNECT_LIMIT_S).close()
    except OSError as error:
        raise ConnectionError(f"{SERVICE} cannot be reached: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        needs = Path(folder) / "requirements.txt"
        needs.write_text(_run(uv, *EXPORT, "--no-emit-project"), encoding="utf-8")
        asked = ("--requirement", str(needs), "--disable-pip", "--vulnerability-service", "osv")
        return _run(uv, "tool", "run", "--from", PIP_AUDIT, "pip-audit", "--require-hashes", *asked)


def _run(*command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise subprocess.CalledProcessError(
            done.returncode, command, done.stdout, done.stdout + done.stderr
        )
    return done.stdout


def main(argv: Sequence[str]) -> int:
    """0 if nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sbom", type=Path, default=SBOM, help="where the bill goes")
    parser.add_argument("--require-audit", action="store_true", help="a skipped audit is an error")
    arguments = parser.parse_args(argv)
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        print("FAILED: there is no uv on the PATH", file=sys.stderr)
        return 1
    try:
        document = bill(uv)
        arguments.sbom.parent.mkdir(parents=True, exist_ok=True)
        arguments.sbom.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        found = problems(document)
        count = len(document["components"])
        print(f"{count} packages, {len(found)} of them not as they should be; {arguments.sbom}")
        print(audit(uv) or "pip-audit knows no weakness of them")
    except ConnectionError as error:
        print(f"SKIPPED: pip-audit: {error}")
        found += ["the audit was skipped"] if arguments.require_audit else []
    except subprocess.CalledProcessError as error:
        found = [f"{' '.join(error.cmd[:3])} ended with {error.returncode}: {error.stderr[-2000:]}"]
    for problem in found:
        print(f"FAILED: {problem}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
