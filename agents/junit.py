"""Verdicts as JUnit XML, which servers of continuous integration show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from agents.result_files import write_text

NAME: Final = "llmserve"
# What XML 1.0 cannot say, not even as an entity.
NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One test.

    Attributes:
        suite: The suite that it is in.
        name: Its name, once in the suite.
        output: What was found, for whoever opens it.
        failure: Why it failed; None if it passed.
    """

    suite: str
    name: str
    output: str
    failure: str | None


def write_junit(path: Path, cases: Sequence[Case], about: Mapping[str, str]) -> None:
    """Put the cases in a file, a suite after the other, whole or not at all.

    Args:
        path: The file.
        cases: In any order.
        about: Properties of every suite.
    """
    root = ElementTree.Element("testsuites", {"name": NAME, **_counts(cases)})
    for suite in dict.fromkeys(case.suite for case in cases):
        members = [case for case in cases if case.suite == suite]
        element = ElementTree.SubElement(
            root, "testsuite", {"name": _clean(suite), **_counts(members)}
        )
        properties = ElementTree.SubElement(element, "properties")
        for name, value in about.items():
            ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
        for case in members:
            _add(element, case)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _add(suite: ElementTree.Element, case: Case) -> None:
    names = {"classname": f"{NAME}.{_clean(case.suite)}", "name": _clean(case.name), "time": "0"}
    element = ElementTree.SubElement(suite, "testcase", names)
    if case.failure is not None:
        message = _clean(case.failure)
        failure = ElementTree.SubElement(element, "failure", {"type": "below", "message": message})
        failure.text = message
    ElementTree.SubElement(element, "system-out").text = _clean(case.output)


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    failed = sum(case.failure is not None for case in cases)
    return {"tests": f"{len(cases)}", "failures": f"{failed}", "errors": "0", "time": "0"}


def _clean(text: str) -> str:
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
