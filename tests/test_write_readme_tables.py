"""The tables of the README: from result files, between markers."""

import json

import pytest

from llmserve_env.errors import InvalidInputError
from scripts import write_readme_tables as script
from scripts.write_readme_tables import filled, main, read_results, scores_block, variants_block
from tests.variant_results import results, scores

EMPTY = (
    "# Title\n<!-- scores:begin -->\nold\n<!-- scores:end -->\nbetween\n"
    "<!-- variants:begin -->\n<!-- variants:end -->\nend\n"
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A README with empty tables and the results that fill them."""
    paths = {"README": "README.md", "SCORES": "scores.json", "VARIANTS": "variants.json"}
    for name, file in paths.items():
        monkeypatch.setattr(script, name, tmp_path / file)
    (tmp_path / "README.md").write_text(EMPTY)
    (tmp_path / "scores.json").write_text(json.dumps(scores()))
    (tmp_path / "variants.json").write_text(json.dumps(results(made_up={})))
    return tmp_path


def test_the_readme_says_what_the_result_files_say():
    assert main(["--check"]) == 0


def test_a_table_of_scores_has_a_row_per_task_and_intervals_of_what_is_learnt():
    assert list(scores_block(scores())) == [
        "Score on 64 test seeds of every task, 95 % intervals:",
        "",
        "| | heuristic | PPO |",
        "|---|---|---|",
        "| `static_workload` | 0.75 | 0.75 [0.74, 0.76] |",
        "| `bursty_workload` | 0.75 | 0.75 [0.74, 0.76] |",
    ]


def test_the_lines_about_variants_lead_to_their_page_and_name_the_failures():
    lines = list(variants_block(results(one={}, two={"ppo": -0.1})))

    assert lines[0].startswith("On 2 variants of the tasks, ")
    assert "(docs/variants.md)" in lines[0]
    assert (
        "- `ppo` lies above the variant's own best constant on 1 of 2; below it on `two`." in lines
    )


def test_writing_fills_the_markers_and_leaves_the_rest(files):
    assert main(["--check"]) == 1

    assert main([]) == 0

    readme = (files / "README.md").read_text()
    assert main(["--check"]) == 0
    assert readme.startswith("# Title\n<!-- scores:begin -->\nScore on 64 test seeds")
    assert "\n<!-- scores:end -->\nbetween\n<!-- variants:begin -->\nOn 1 variants of" in readme
    assert readme.endswith("<!-- variants:end -->\nend\n")
    assert "old" not in readme


def test_other_scores_make_another_readme(files):
    main([])

    (files / "scores.json").write_text(json.dumps(scores(0.8)))

    assert main(["--check"]) == 1


@pytest.mark.parametrize("readme", ["", "<!-- scores:end -->\n<!-- scores:begin -->\n", EMPTY * 2])
def test_markers_must_be_there_once_and_in_order(readme):
    with pytest.raises(InvalidInputError, match="must hold <!-- scores:begin --> and"):
        filled(readme, "scores", iter(["line"]))


@pytest.mark.parametrize(
    "change",
    [{"environment_version": "0.0.1"}, {"split": "validation"}, {"seeds": [2_000_000]}],
)
def test_results_of_another_version_split_or_of_few_seeds_are_refused(tmp_path, change):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(scores() | change))

    with pytest.raises(InvalidInputError, match="run this"):
        read_results(path, made_by="this")


def test_missing_results_are_named_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.json is missing; run this"):
        read_results(tmp_path / "none.json", made_by="this")


def test_playing_asks_evaluate_for_all_agents_on_the_graded_tasks(files, monkeypatch):
    asked = []
    monkeypatch.setattr(script.evaluate, "main", lambda argv: asked.append(argv) or 0)

    assert main(["--play", "100", "--jobs", "1"]) == 0

    (argv,) = asked
    assert argv[argv.index("--agent") + 1].split(",")[-2:] == ["ppo", "ppo_generalist"]
    assert argv[argv.index("--task") + 1] == "all"
    assert argv[argv.index("--episodes") + 1] == "100"
    assert argv[argv.index("--json") + 1] == str(files / "scores.json")


def test_a_failed_evaluation_writes_nothing(files, monkeypatch):
    monkeypatch.setattr(script.evaluate, "main", lambda _: 2)

    assert main(["--play", "100"]) == 2
    assert (files / "README.md").read_text() == EMPTY
