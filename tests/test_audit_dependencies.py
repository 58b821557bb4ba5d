import pytest

from scripts.audit_dependencies import licence_of, problems

ARCHIVE = {"type": "distribution", "url": "https://host/a.whl", "hashes": [{"content": "00"}]}


def bill(licence=None, archives=(ARCHIVE,)):
    component = {"name": "a", "version": "1", "externalReferences": list(archives)}
    if licence is not None:
        component["licenses"] = [{"license": {"name": licence}}]
    return {"components": [component]}


@pytest.mark.parametrize(
    "licence",
    ["MIT", "MPL-2.0", "LGPL-2.1-only", "GNU Lesser General Public License v2 (LGPLv2)", None],
)
def test_what_does_not_bind_its_users_is_welcome(licence):
    assert problems(bill(licence)) == []


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "AGPL-3.0", "GNU General Public License v3 (GPLv3)"]
)
def test_what_binds_its_users_is_named(licence):
    assert problems(bill(licence)) == [f"a 1 is under {licence}"]


@pytest.mark.parametrize("archives", [(), (ARCHIVE, {"url": "https://host/b.whl"})])
def test_a_package_without_a_hash_is_named(archives):
    assert problems(bill(archives=archives)) == ["a 1 has no hash"]


def test_the_licence_is_what_the_package_states():
    assert licence_of("numpy").startswith("BSD-3-Clause")
    assert licence_of("no-such-package") is None
