"""Pages that list things list all of them, and what they show in Python runs."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from programs import load_program

import metaexp as mx
from metaexp.core.errors import ExitCode
from metaexp.results.record import RunRecord

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def named(text: str) -> set[str]:
    """Everything that a page sets as code."""
    return set(re.findall(r"`([^`]+)`", text))


def test_the_page_of_run_folders_names_every_key_of_a_record() -> None:
    keys = {field.name for field in dataclasses.fields(RunRecord)}
    found = named((DOCS / "run-folder.md").read_text())
    assert keys - found == set()
    assert {*keys, "invented"} - found == {"invented"}


def test_the_page_of_exit_codes_has_every_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert {(int(number), name) for number, name in rows} == {(code.value, code.name) for code in ExitCode}


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes the reference of configuration keys."""
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    return load_program("docs/_site/configuration.py")


def test_the_reference_has_every_key_of_every_file_and_says_what_it_may_be(configuration: ModuleType) -> None:
    text = configuration.page(ROOT / "conf")
    found = named(text)
    for group in ("algorithm", "model", "dataset", "optimizer", "schedule", "clip"):
        for file in (ROOT / "conf" / group).glob("*.yaml"):
            keys = set(yaml.safe_load(file.read_text())) - {"_target_", "defaults"}
            assert {f"{group}.{key}" for key in keys} - found == set(), file
            assert f"{group}={file.stem}" in text
    assert {"train.steps", "eval.seed", "device.task_chunk", "sweep.n_jobs", "search.trials"} <= found
    assert "| `train.steps` | an integer >= 0 |" in text
    assert "train.stepps" not in found


def test_every_page_is_in_the_navigation_and_the_index() -> None:
    pages = {path.name for path in DOCS.glob("*.md")}
    site = (ROOT / "mkdocs.yml").read_text()
    assert {name for name in pages if name not in site} == set()
    index = (DOCS / "README.md").read_text()
    assert {name for name in pages if name != "README.md" and f"({name})" not in index} == set()


def not_in_the_navigation(package: Path, site: str) -> set[str]:
    """Rooms of a package whose pages of the reference are not in the navigation."""
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    return rooms - set(re.findall(r"^ +- reference/(\w+)\.md$", site, re.MULTILINE))


def test_every_room_is_in_the_navigation(tmp_path: Path) -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    assert not_in_the_navigation(ROOT / "metaexp", site) == set()
    assert not_in_the_navigation(ROOT / "metaexp", site.replace("- reference/folders.md", "")) == {"folders"}
    for room in ("run", "newroom"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    assert not_in_the_navigation(tmp_path, site) == {"newroom"}


def test_the_page_of_the_package_has_every_name_that_it_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    names = load_program("docs/_site/names.py")
    entries = re.findall(r"^::: metaexp\.(\w+)$", names.page(), re.MULTILINE)
    exported = set(mx.__all__) - {"__version__"}
    assert sorted(entries) == sorted({"api", *exported})
    assert {"Algorithm", "Episode", "ConfigError", "PositiveInt", "train"} <= exported
    monkeypatch.setitem(mx._PLACES, "metaexp.newroom.things", ("Thing",))
    with pytest.raises(ValueError, match=r"Thing: no section of docs/_site/names\.py has it"):
        names.page()


def test_what_the_page_about_python_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```py\n(.*?)^```$", (DOCS / "python.md").read_text(), re.DOTALL | re.MULTILINE)
    small = (
        '"train.steps=2", "train.eval_episodes=4", "eval.episodes=4", "tracker=files", "train.meta_batch_size=2", '
        '"train.log_every=1", "device=cpu", "device.threads=1", "dataset.train_classes=70", "dataset.val_classes=20", '
        '"dataset.test_classes=20", "model.channels=8"'
    )
    assert sum('"train.steps=200"' in block for block in blocks) == 2
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        if number == 2:  # the figures of the first run are looked at, and no others
            monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        code = block.replace('"train.steps=200"', small).replace("episodes=100", "episodes=12")
        exec(code.replace('"task=5way_1shot"', '"task=5way_1shot", "dataset.test_classes=20"'), names)
    assert len(names["table"]) == 2
    assert [row["algorithm"] for row in names["mine"]] == ["maml"]
    assert len(names["comparison"].rows) == 2
    assert names["scores"].shape == (25, 5)
    assert set(names["names"]) <= set(names["y"])
    assert all(name in found for name, found in zip(names["names"], names["sets"], strict=True))
    assert sys.modules["metaexp"] is names["mx"]
    with pytest.raises(mx.ConfigError, match="no run has a key algoritm"):  # a typo on the page would be seen
        exec(blocks[3].replace('algorithm="maml"', 'algoritm="maml"').partition("mine = ")[2], names)


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (DOCS / "architecture.md").read_text()
    files = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text)
    assert len(files) > 40
    found = [name for name in files if (ROOT / name).exists() or (ROOT / "metaexp" / name).exists()]
    assert [name for name in files if name not in found] == []
    assert not (ROOT / "metaexp" / "run" / "invented.py").exists()


def test_equations_become_mathml(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    hooks: Any = load_program("docs/_site/hooks.py")
    inline, block = ('<span class="arithmatex">\\(a &lt; b\\)</span>', '<div class="arithmatex">\\[x_1\\]</div>')
    shown = hooks.on_page_content(f"{inline} and {block}", None, None, None)
    assert shown.count("<math ") == 2
    assert "<mo>&lt;</mo>" in shown or "<mo>&#x0003C;</mo>" in shown
    assert 'display="block"' in shown
    assert hooks.on_page_content("<span>\\(a\\)</span>", None, None, None) == "<span>\\(a\\)</span>"


def test_long_names_in_tables_may_break_between_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    hooks: Any = load_program("docs/_site/hooks.py")
    cell = '<td><a href="maml_omniglot_5way_1shot/index.html"><code>algorithm.batch_norm=episode</code></a> 98.40</td>'
    shown = hooks.on_page_content(cell, None, None, None)
    assert '<a href="maml_omniglot_5way_1shot/index.html">' in shown
    assert "<code>algorithm.<wbr>batch_<wbr>norm=<wbr>episode</code></a> 98.40" in shown
    paragraph = "<p><code>algorithm.batch_norm=episode</code></p>"
    assert hooks.on_page_content(paragraph, None, None, None) == paragraph


@pytest.mark.parametrize(
    ("place", "link", "is_kept"),
    [
        ("README.md", "../README.md", False),
        ("walks/paper.md", "../README.md", True),
        ("walks/paper.md", "../../README.md#install", False),
        ("results/maml/README.md", "../../README.md", True),
        ("results/maml/README.md", "../../../CHANGELOG.md", False),
    ],
)
def test_the_site_leads_to_the_index_of_pages_and_not_out_of_the_pages(
    monkeypatch: pytest.MonkeyPatch, place: str, link: str, is_kept: bool
) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    hooks: Any = load_program("docs/_site/hooks.py")
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    shown = hooks.on_page_markdown(f"[Back to the index]({link}).", page, None, None)
    assert shown == (f"[Back to the index]({link})." if is_kept else "Back to the index.")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("whole_runs.json", "`benchmarks/records/whole_runs.json`"),
        ("`whole_runs.json`", "`benchmarks/records/whole_runs.json`"),
        ("the record", "the record (`benchmarks/records/whole_runs.json`)"),
    ],
)
def test_a_file_that_the_site_has_not_is_named_once(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    hooks: Any = load_program("docs/_site/hooks.py")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="speed.md"))
    link = f"[{text}](../benchmarks/records/whole_runs.json)"
    assert hooks.on_page_markdown(link, page, None, None) == shown


@pytest.mark.parametrize(("place", "is_wide"), [("results/README.md", True), ("comparing.md", False)])
def test_a_very_wide_table_has_the_page_for_itself(monkeypatch: pytest.MonkeyPatch, place: str, is_wide: bool) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    hooks: Any = load_program("docs/_site/hooks.py")
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place), meta={})
    hooks.on_page_markdown((DOCS / place).read_text(), page, None, None)
    assert page.meta == ({"hide": ["toc"]} if is_wide else {})
