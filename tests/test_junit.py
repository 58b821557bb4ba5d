from xml.etree import ElementTree

from agents.junit import Case, write_junit


def test_a_report_counts_its_cases_and_says_why_one_failed(tmp_path):
    path = tmp_path / "new" / "report.xml"
    cases = [
        Case("bursty", "mine", "score: 0.4", "score 0.400 is below 0.5"),
        Case("bursty", "other", "score: 0.9", None),
        Case("static", "mine", 'a < b & "c" \x00 é', None),
    ]

    write_junit(path, cases, {"split": "test"})

    root = ElementTree.fromstring(path.read_bytes())
    suites = root.findall("testsuite")
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "3", "1")
    assert [(suite.get("name"), suite.get("tests")) for suite in suites] == [
        ("bursty", "2"),
        ("static", "1"),
    ]
    assert suites[0].find("testcase/failure").get("message") == "score 0.400 is below 0.5"
    assert suites[0].find("properties/property").attrib == {"name": "split", "value": "test"}
    assert suites[1].find("testcase/system-out").text == 'a < b & "c" � é'
