"""What is written: safe whatever a record's names are, the same numbers everywhere, and readable alone."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.compare.comparison import Comparison, compare
from metaexp.compare.gather import gather
from metaexp.compare.output import svg
from metaexp.compare.output.cells import STAR
from metaexp.compare.output.documents import print_comparison, to_csv, to_latex, to_markdown
from metaexp.compare.output.escape import for_csv, for_latex, for_markdown, plain
from metaexp.compare.output.figures import figures
from metaexp.compare.output.page import to_html
from metaexp.compare.output.wording import headline
from metaexp.compare.output.write import write
from tests.compare.conftest import HOSTILE, MakeRun, decide


def compared(folder: Path) -> Comparison:
    found = gather([folder])
    return compare(found.runs, found.left_out, [], decide, "Title & <b>", "metaexp compare x", draws=500)


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


@pytest.fixture
def hostile(make_run: MakeRun, tmp_path: Path) -> Comparison:
    for name in HOSTILE:
        for seed in range(2):
            make_run(name, seed, dataset="<i>data</i>")
    make_run("maml", 9, dataset="<i>data</i>", status="failed", error="<img src=x onerror=alert(1)>")
    return compared(tmp_path / "sweep")


def test_names_cannot_break_out_of_the_page(hostile: Comparison) -> None:
    text = to_html(hostile, figures(hostile))
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not {"i", "b", "img", "link", "iframe", "a"} & page.tags()
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href"}
    for name in HOSTILE:
        assert plain(name) in page.text
        assert any(plain(name) in (attributes.get("data-tip") or "") for _, attributes in page.elements)
    assert "\x1b" not in text
    assert Page("<p><script>x</script><img src=y>").tags() == {"p", "script", "img"}  # the parser would see them


def test_the_page_loads_nothing_and_runs_its_own_script_only(hostile: Comparison) -> None:
    text = to_html(hostile, figures(hostile))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttp|eval\(|innerHTML", text)


def test_no_name_is_a_formula_in_a_spreadsheet(hostile: Comparison) -> None:
    for text in to_csv(hostile).values():
        header, *lines = csv.reader(io.StringIO(text))
        for line in lines:
            assert len(line) == len(header)
            for cell in line:
                assert not cell.startswith(("=", "@", "+", "\t")), cell
    assert for_csv("=1+1") == "'=1+1"
    assert for_csv("-") == "-"
    assert for_csv("maml") == "maml"


def test_latex_and_markdown_show_names_as_they_are(hostile: Comparison) -> None:
    latex = to_latex(hostile)
    body = "".join(line for line in latex.splitlines() if line.endswith(r"\\"))
    assert r"a\textquotedbl{}b'c \& \$x\_1\$ \%" in latex
    assert len(re.findall(r"(?<!\\)&", body)) == 10 * (len(HOSTILE) + 1)
    assert for_latex("\\input{x}^~") == r"\textbackslash{}input\{x\}\textasciicircum{}\textasciitilde{}"
    markdown = to_markdown(hostile, {"a]b": "x.png"})
    assert "<script>" not in markdown
    assert "<i>" not in markdown.replace("\\<i\\>", "")
    assert for_markdown("[a](b) *c* `d` <e> & |") == r"\[a\](b) \*c\* \`d\` \<e\> &amp; |"
    columns = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("| 1")}
    assert columns == {12}


def test_a_terminal_obeys_no_name(hostile: Comparison) -> None:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_comparison(hostile, console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "\x1b" not in printed
    assert "alert(1)" in printed


def test_pictures_take_no_name_for_mathematics(hostile: Comparison, tmp_path: Path) -> None:
    files = write(hostile, tmp_path / "out")
    pictures = [path for path in files if path.suffix == ".png"]
    assert {path.stem for path in pictures} == {"scores", "differences", "learning", "adaptation"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert {path.name for path in files} - {path.name for path in pictures} == {
        "index.html", "README.md", "rows.csv", "pairs.csv", "table.tex",
    }  # fmt: skip


def test_the_sentences_answer_which_how_much_how_sure_and_at_what_cost(sweep: Path) -> None:
    (table,) = compared(sweep).tables
    first, second, third, cost, *rest = headline(table)
    best, tied = table.rows[0].label, table.rows[1].label
    assert re.match(
        rf"{best} has the best mean, [\d.]+ % \(95 % interval .*\) accuracy, but {tied} cannot be told", first
    )
    assert re.match(rf"{tied} is [\d.]+ points behind {best} \(95 % interval .*; corrected p = .*\): open\. If", second)
    assert re.match(rf"meta_lstm is [\d.]+ points worse than {best} \(95 % interval .*; corrected p .*\)\.$", third)
    assert re.match(r"Mean time of a run, on AMD EPYC, 2 threads: .*maml 21 min.*meta_lstm 83 min", cost)
    assert any("batch_norm" in sentence for sentence in rest)


def test_the_page_begins_with_them_and_has_every_table(sweep: Path) -> None:
    comparison = compared(sweep)
    page = Page(to_html(comparison, figures(comparison)))
    place = [page.text.find(plain(sentence)) for sentence in headline(comparison.tables[0])]
    assert place == sorted(place)
    assert 0 < place[0] < page.text.find("Rank")
    for words in ("What it cost", "Every pair", "What differs between the rows", "How to read this", "times narrower"):
        assert words in page.text
    for words in ("batch norm transductive, second order", "batch norm episode, first order", "batch norm running"):
        assert words in page.text
    headings = [tag for tag, _ in page.elements].count("th")
    assert headings == [tag for tag, _ in page.elements].count("button") > 15


def test_cells_sort_by_their_numbers(sweep: Path) -> None:
    comparison = compared(sweep)
    page = Page(to_html(comparison, figures(comparison)))
    values = [float(str(a["data-v"])) for tag, a in page.elements if tag == "td" and "data-v" in a]
    for row in comparison.tables[0].rows:
        assert row.estimate.mean in values


def test_every_point_of_a_figure_can_be_pointed_at(sweep: Path) -> None:
    comparison = compared(sweep)
    for figure in figures(comparison):
        tips = Page(svg.draw(figure)).elements
        shown = [a["data-tip"] for _, a in tips if "data-tip" in a]
        wanted = [p.tip for s in figure.series for p in s.points] + [tip for s in figure.series for _, tip in s.dots]
        assert sorted(map(str, shown)) == sorted(wanted)


def test_curves_over_shots_join_the_groups(make_run: MakeRun, tmp_path: Path) -> None:
    for shot in (1, 5):
        for way in (5, 20):
            for seed in range(2):
                make_run("maml", seed, shot=shot, way=way)
    found = {figure.name: figure for figure in figures(compared(tmp_path / "sweep"))}
    assert [p.x for p in found["shots_5_way"].series[0].points] == [1, 5]
    assert [p.x for p in found["ways_5_shot"].series[0].points] == [5, 20]
    assert found["ways_1_shot"].title == "omniglot, 1-shot: ways"
    assert not [name for name in found if name.startswith("differences")]


def test_figures_of_two_datasets_do_not_replace_each_other(make_run: MakeRun, tmp_path: Path) -> None:
    for dataset in ("omniglot", "../mini_imagenet"):
        for shot in (1, 5):
            make_run("maml", 0, shot=shot, dataset=dataset, config={"dataset.root": dataset})
    drawn = figures(compared(tmp_path / "sweep"))
    names = [figure.name for figure in drawn]
    assert len(set(names)) == len(names)
    assert {"shots_5_way_1", "shots_5_way_2"} <= set(names)
    assert len({figure.title for figure in drawn}) == len(names)


def test_the_footnote_is_with_the_tables_that_need_it(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed, shot=1)
    make_run("maml", 0, shot=5)
    first, second = to_latex(compared(tmp_path / "sweep")).split(r"\begin{table}")[1:]
    assert "over episodes only" not in first
    assert "over episodes only" in second


def test_the_adaptation_curve_ends_at_the_score(sweep: Path) -> None:
    comparison = compared(sweep)
    (figure,) = [figure for figure in figures(comparison) if figure.name == "adaptation"]
    means = {row.label: row.estimate.mean for row in comparison.tables[0].rows}
    assert {series.label for series in figure.series} == {"maml", "meta_lstm"}
    for series in figure.series:
        assert [point.x for point in series.points] == [0, 1]
        assert series.points[-1].mean == pytest.approx(means[series.label])


def test_of_errors_the_smaller_is_better(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0, metric="mse", way=0)
        make_run("proto_net", seed, 4.0, metric="mse", way=0)
    comparison = compared(tmp_path / "sweep")
    (table,) = comparison.tables
    assert [row.label for row in table.rows] == ["maml", "proto_net"]
    assert [row.rank for row in table.rows] == [1, 2]
    assert headline(table)[0].startswith("maml is better than proto_net: 2.")
    assert headline(table)[0].endswith("mean squared error.")
    (figure,) = [figure for figure in figures(comparison) if figure.name == "differences"]
    assert figure.series[0].points[0].low > 0
    assert not figure.percent


def test_one_seed_says_nothing_about_seeds_and_the_table_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0)
    make_run("proto_net", 0)
    comparison = compared(tmp_path / "sweep")
    assert any("say nothing about other seeds" in line for line in headline(comparison.tables[0]))
    assert STAR in Page(to_html(comparison, [])).text
    assert for_markdown(STAR) in to_markdown(comparison, {})
    assert "False" in to_csv(comparison)["rows.csv"]


def test_three_seeds_do_not_have_the_star(sweep: Path) -> None:
    comparison = compared(sweep)
    assert STAR not in Page(to_html(comparison, [])).text
    assert not any("nothing about other seeds" in line for line in headline(comparison.tables[0]))


def test_a_second_comparison_leaves_no_picture_of_the_first(sweep: Path, make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(compared(sweep), out)
    (out / "mine.png").write_bytes(b"")
    (out / "scores_7.png").write_bytes(b"")
    write(compared(sweep), out)
    assert (out / "mine.png").exists()
    assert not (out / "scores_7.png").exists()


@pytest.mark.parametrize(
    ("low", "high", "most"), [(0, 1, 5), (0.9, 0.91, 5), (-3, 17, 5), (1e-6, 3e-6, 4), (0, 60000, 6), (5, 5.0001, 5)]
)
def test_ticks_are_round_few_and_cover(low: float, high: float, most: int) -> None:
    marks = svg.ticks(low, high, most)
    step = marks[1] - marks[0]
    assert marks[0] <= low + 1e-12
    assert marks[-1] >= high - 1e-12
    assert 2 <= len(marks) <= most + 2
    texts = [svg.say_tick(mark, step) for mark in marks]
    assert len(set(texts)) == len(texts)
