"""docs/algorithms.md has a section for every algorithm, and its tables are what files and records give."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sampling import only_exhaustive

from metaexp.cli.report import main
from metaexp.config.compose import Composer
from metaexp.core.errors import RunFolderError
from metaexp.report.algorithm_tables import Page, Setting, format_page
from metaexp.report.pages import read_entries
from metaexp.report.published_settings import published_settings
from metaexp.reproduce.today import find_today

pytestmark = pytest.mark.usefixtures("remembers")
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "algorithms.md"
RESULTS = ROOT / "docs" / "results"
FILES = sorted(path.stem for path in (ROOT / "metaexp" / "algorithms").glob("*.py") if path.stem != "__init__")
CHOICES = sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def sections() -> dict[str, str]:
    """Algorithm -> its section, by the line under the heading that says how to choose it."""
    parts = re.split(r"^## .*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [(re.match(r"\s*`algorithm=(\w+)`", part), part) for part in parts]
    return {match.group(1): part for match, part in found if match}


def test_every_algorithm_has_a_section_and_every_section_an_algorithm() -> None:
    assert sorted(sections()) == FILES == CHOICES


def test_the_task_of_a_row_stays_in_one_line_on_the_site() -> None:
    rules = (ROOT / "docs/_site/site.css").read_text(encoding="utf-8").split("}")
    (rule,) = [rule for rule in rules if "white-space: nowrap" in rule and ":nth-child(2)" in rule]
    for page in (PAGE, RESULTS / "README.md"):
        headers = {line for line in page.read_text(encoding="utf-8").splitlines() if "| Task |" in line}
        assert headers
        for header in headers:
            columns = [name.strip() for name in header.strip("|").split("|")]
            place, from_end = columns.index("Task") + 1, len(columns) - columns.index("Task")
            assert (place, from_end) == (2, 7) or (place >= 5 and from_end == 7), header
    assert "td:nth-last-child(7):nth-child(2)" in rule
    assert "td:nth-last-child(7):nth-child(n + 5)" in rule


@pytest.mark.parametrize("name", FILES)
def test_a_section_has_equations_departures_batch_norm_and_a_table(name: str) -> None:
    section = sections()[name]
    assert section.count("$$") >= 2
    assert "*Departures.*" in section
    assert "*Batch norm:*" in section
    assert section.index(f"<!-- {name}:begin -->") < section.index(f"<!-- {name}:end -->")
    for other in re.findall(r"`(\w+)=", section.partition("<!--")[0]):
        known = (ROOT / "metaexp" / "algorithms" / f"{name}.py").read_text() + (
            ROOT / "conf" / "config.yaml"
        ).read_text()
        assert other in known, f"{name} has no key {other}"


def test_the_batch_norm_modes_that_sections_name_are_those_of_the_code() -> None:
    modes = {"transductive", "support_and_query", "episode", "running"}
    for name, section in sections().items():
        said = section.partition("*Batch norm:*")[2].partition("<!--")[0]
        code = (ROOT / "metaexp" / "algorithms" / f"{name}.py").read_text()
        returned = set(re.findall(r'"(\w+)"', code.partition("def batch_norm")[2].partition(":\n")[0]))
        assert {mode for mode in modes if f"`{mode}`" in said} == returned & modes, name


@pytest.fixture(scope="module")
def settings_of_experiments() -> dict[str, list[Setting]]:
    """Algorithm -> the settings that are read from the files."""
    return published_settings(ROOT / "conf")


@pytest.mark.parametrize("experiment", EXPERIMENTS[::8])
def test_settings_read_from_files_are_those_that_compose(
    experiment: str, settings_of_experiments: Mapping[str, Sequence[Setting]]
) -> None:
    (name, setting), *more = [
        (name, setting)
        for name, settings in settings_of_experiments.items()
        for setting in settings
        if setting.experiment == experiment
    ]
    composed = Composer().published(experiment)
    assert not more
    assert (name, setting.dataset) == (composed.choices["algorithm"], composed.choices["dataset"])
    assert (setting.task.n_way, setting.task.k_shot, setting.task.n_query) == tuple(composed.task.shape)
    assert (setting.reference is None) == (composed.reference is None)
    if setting.reference is not None and composed.reference is not None:
        assert setting.reference.value == composed.reference["value"]


def test_every_experiment_is_in_a_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in EXPERIMENTS if f"| `{name}` |" not in text] == []


@only_exhaustive
@pytest.mark.slow
def test_a_number_typed_into_a_table_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("README.md", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results").symlink_to(RESULTS)
    page = tmp_path / "docs" / "algorithms.md"
    page.write_text(PAGE.read_text(encoding="utf-8").replace("98.7 ± 0.4 %", "99.7 ± 0.4 %"), encoding="utf-8")
    assert main(["--check", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().out.split() == ["not", "up", "to", "date:", str(page)]


def test_an_algorithm_without_a_place_for_its_table_is_refused(
    tmp_path: Path, settings_of_experiments: dict[str, list[Setting]]
) -> None:
    page = tmp_path / "algorithms.md"
    page.write_text(PAGE.read_text(encoding="utf-8").replace("<!-- anil:end -->", ""), encoding="utf-8")
    with pytest.raises(RunFolderError, match="anil:begin"):
        format_page(Page(page, settings_of_experiments), read_entries(RESULTS, find_today), "results")
