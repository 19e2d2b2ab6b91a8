"""What is written: safe whatever a record's names are, the same numbers everywhere, and readable alone."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.compare.comparison import ComparedRuns, compare
from metaexp.compare.find import is_earlier
from metaexp.compare.gather import gather
from metaexp.compare.output.cells import STAR
from metaexp.compare.output.documents import print_comparison, to_csv, to_latex, to_markdown
from metaexp.compare.output.draw import draw
from metaexp.compare.output.escape import escape_csv, escape_latex, escape_markdown, plain
from metaexp.compare.output.figures import figures
from metaexp.compare.output.page import to_html
from metaexp.compare.output.wording import format_headline, format_legend
from metaexp.compare.output.write import render, write
from metaexp.compare.statistics.required_sample import RequiredSample
from metaexp.results.beginning import InitialWeights
from metaexp.results.display.html_page import breakable, joined
from metaexp.results.record import Task
from tests.compare.conftest import HOSTILE, MakeRun, decide


def compared(folder: Path) -> ComparedRuns:
    found = gather([folder])
    return compare(found.runs, found.left_out, [], decide, "Title & <b>", "metaexp compare x")


def page_of(comparison: ComparedRuns) -> str:
    return to_html(comparison, {figure.name: draw(figure).svg for figure in figures(comparison)})


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
def hostile(make_run: MakeRun, tmp_path: Path) -> ComparedRuns:
    for name in HOSTILE:
        for seed in range(2):
            make_run(name, seed, dataset="<i>data</i>")
    make_run("maml", 9, dataset="<i>data</i>", status="failed", error="<img src=x onerror=alert(1)>")
    return compared(tmp_path / "sweep")


def test_names_cannot_break_out_of_the_page_which_runs_its_own_script_only(hostile: ComparedRuns) -> None:
    text = page_of(hostile)
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not {"i", "b", "img", "link", "iframe", "a", "foreignobject"} & page.tags()
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href"}
    links = [str(value) for _, attributes in page.elements for key, value in attributes.items() if key == "xlink:href"]
    assert links
    assert all(link.startswith("#") for link in links)
    for name in HOSTILE:
        assert plain(name) in page.text
    assert "\x1b" not in text
    assert Page("<p><script>x</script><img src=y>").tags() == {"p", "script", "img"}  # the parser would see them
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.findall(r"url\((?!#)|@import|fetch\(|XMLHttp|eval\(|innerHTML", text)


def test_no_name_is_a_formula_in_a_spreadsheet(hostile: ComparedRuns) -> None:
    for text in to_csv(hostile).values():
        header, *lines = csv.reader(io.StringIO(text))
        for line in lines:
            assert len(line) == len(header)
            for cell in line:
                assert not cell.startswith(("=", "@", "+", "\t")), cell
    assert escape_csv("=1+1") == "'=1+1"
    assert escape_csv("-") == "-"
    assert escape_csv("maml") == "maml"


def test_latex_and_markdown_show_names_as_they_are(hostile: ComparedRuns) -> None:
    latex = to_latex(hostile)
    body = "".join(line for line in latex.splitlines() if line.endswith(r"\\"))
    assert r"a\textquotedbl{}b'c \& \$x\_1\$ \%" in latex
    assert len(re.findall(r"(?<!\\)&", body)) == 10 * (len(HOSTILE) + 1)
    assert escape_latex("\\input{x}^~") == r"\textbackslash{}input\{x\}\textasciicircum{}\textasciitilde{}"
    markdown = to_markdown(hostile, {"a]b": "x.png"})
    assert "<script>" not in markdown
    assert "<i>" not in markdown.replace("\\<i\\>", "")
    assert escape_markdown("[a](b) *c* `d` <e> & |") == r"\[a\](b) \*c\* \`d\` \<e\> &amp; |"
    columns = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("| 1")}
    assert columns == {12}


def test_a_terminal_obeys_no_name(hostile: ComparedRuns) -> None:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_comparison(hostile, console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "\x1b" not in printed
    assert "alert(1)" in printed


def test_figures_take_no_name_for_mathematics(hostile: ComparedRuns, tmp_path: Path) -> None:
    files = write(render(hostile), tmp_path / "out")
    figures = [path for path in files if path.suffix == ".png"]
    assert {path.stem for path in figures} == {"scores", "differences", "learning", "adaptation"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)
    assert {path.name for path in files} - {path.name for path in figures} == {
        "index.html", "README.md", "rows.csv", "pairs.csv", "table.tex",
    }  # fmt: skip


def test_the_sentences_answer_which_how_much_how_sure_and_at_what_cost(sweep: Path) -> None:
    (table,) = compared(sweep).tables
    first, second, third, cost, *rest = format_headline(table)
    best, tied = table.rows[0].name, table.rows[1].name
    assert re.match(
        rf"{best} has the best mean: [\d.]+ % \(95 % interval .*\) accuracy. But {tied} is not significantly worse.",
        first,
    )
    assert re.match(
        rf"{tied} is [\d.]+ points behind {best} \(95 % interval .*; corrected p = .*\)\. This is not", second
    )
    assert re.match(rf"Meta-LSTM is [\d.]+ points worse than {best} \(95 % interval .*; corrected p .*\)\.$", third)
    assert re.match(r"Mean time of a run, on AMD EPYC, 2 threads: .*MAML 21 min.*Meta-LSTM 83 min", cost)
    assert any("batch_norm" in sentence for sentence in rest)


@pytest.mark.parametrize("n_rows", [4, 6, 12])
def test_however_many_rows_there_are_the_answer_has_five_sentences_at_most(
    make_run: MakeRun, tmp_path: Path, n_rows: int
) -> None:
    names = ["maml", "anil", "proto_net", "matching_net", "relation_net", "reptile", "meta_sgd", "meta_lstm"]
    names += ["fine_tune", "nearest_neighbour", "maml_plus_plus", "mine"]
    for place, name in enumerate(names[:n_rows]):
        for seed in range(3):
            more = {"batch_norm": "running"} if place % 2 else {}
            make_run(name, seed, 2.0 - 0.5 * place, seconds=60.0 * (place + 1), **more)
    (table,) = compared(tmp_path / "sweep").tables
    sentences = format_headline(table)
    assert 4 <= len(sentences) <= 5
    assert all(len(sentence) < 400 for sentence in sentences)
    best, last = table.rows[0].name, table.rows[-1].name
    text = " ".join(sentences)
    if n_rows == 4:
        assert all(f"{row.name} is " in text for row in table.rows[1:])  # and the table has the times
        assert "Mean time" not in text
    else:
        n_worse = sum(
            table.pairs[row.to_best].decision == "different" for row in table.rows[1:] if row.to_best is not None
        )
        assert n_worse > 2
        assert re.search(
            rf"The {n_rows - 1} others are [\d.]+ points \(.*\) to [\d.]+ points \({last}\) behind {best}", text
        )
        n_of_them = "all" if n_worse == n_rows - 1 else f"{n_worse} of them"
        assert f"; {n_of_them} are significantly worse. The table lists each." in text
        assert ("1 min (MAML) to 12 min (mine)" in text) == (n_rows == 12)


def test_many_rows_of_one_seed_get_no_verdict_and_may_be_ahead(make_run: MakeRun, tmp_path: Path) -> None:
    for place, name in enumerate(["maml", "anil", "proto_net", "matching_net", "relation_net", "reptile"]):
        make_run(name, 0, 2.0 - 0.5 * place)
    (table,) = compared(tmp_path / "sweep").tables
    (others,) = [line for line in format_headline(table) if line.startswith("The 5 others")]
    assert others.endswith("behind MAML. The table lists each.")
    for seed in (1, 2):
        make_run("reptile", seed, -0.5)
    (table,) = compared(tmp_path / "sweep").tables
    (others,) = [line for line in format_headline(table) if line.startswith("The 5 others")]
    assert re.match(r"The 5 others range from [\d.]+ points ahead of Reptile \(MAML\) to ", others)


def test_the_page_begins_with_them_and_has_every_table(sweep: Path) -> None:
    comparison = compared(sweep)
    page = Page(to_html(comparison, {}))
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    place = [text.find(plain(sentence)) for sentence in format_headline(comparison.tables[0])]
    assert place == sorted(place)
    assert 0 < place[0] < text.find("Rank")
    for words in ("What it cost", "Every pair", "What differs between the rows", "How to read this", "times narrower"):
        assert words in page.text
    for words in ("batch norm transductive, second order", "batch norm episode, first order", "batch norm running"):
        assert words in page.text
    headings = [tag for tag, _ in page.elements].count("th")
    assert headings == [tag for tag, _ in page.elements].count("button") > 15


def test_the_lines_on_how_to_read_are_short_sentences_and_those_of_the_committed_example(sweep: Path) -> None:
    lines = format_legend(compared(sweep))
    assert all(len(sentence.split()) < 30 for line in lines for sentence in re.split(r"(?<=\.) ", line))
    example = Path(__file__).parents[3] / "docs/examples/omniglot_5way_1shot"
    for name in ("README.md", "index.html"):
        text = html.unescape((example / name).read_text(encoding="utf-8")).replace("\\", "")
        assert [line for line in lines if line not in text] == [line for line in lines if "times narrower" in line]


def test_a_long_command_is_folded_so_that_the_answer_comes_first(sweep: Path) -> None:
    comparison = compared(sweep)
    long = dataclasses.replace(comparison, command=f"metaexp compare {' '.join(['outputs/a_run'] * 20)}")
    page = Page(to_html(long, {}))
    assert ("details", {"class": "command"}) in page.elements
    assert long.command in page.text
    assert "details" not in [tag for tag, _ in Page(to_html(comparison, {})).elements]


@pytest.mark.parametrize(("step", "n_worse"), [(0.01, "none of them is"), (1.0, "all are")])
def test_of_many_rows_none_or_all_may_be_worse(make_run: MakeRun, tmp_path: Path, step: float, n_worse: str) -> None:
    for place, name in enumerate(["maml", "anil", "proto_net", "matching_net", "relation_net", "reptile"]):
        for seed in range(3):
            make_run(name, seed, -step * place)
    (table,) = compared(tmp_path / "sweep").tables
    (others,) = [line for line in format_headline(table) if line.startswith("The 5 others")]
    assert others.endswith(f"; {n_worse} significantly worse. The table lists each.")


def test_cells_sort_by_their_numbers(sweep: Path) -> None:
    comparison = compared(sweep)
    page = Page(to_html(comparison, {}))
    values = [float(str(a["data-v"])) for tag, a in page.elements if tag == "td" and "data-v" in a]
    for row in comparison.tables[0].rows:
        assert row.estimate.mean in values


def test_the_figures_of_the_page_are_those_of_the_files(sweep: Path, make_run: MakeRun) -> None:
    """Drawn once, with the same bytes each time, and with ids that are not those of another figure."""
    for seed in range(2):
        make_run("maml", seed, shot=5)
    files = render(compared(sweep))
    assert files == render(compared(sweep))
    page = Page(files["index.html"].decode())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10
    used = [str(a["xlink:href"])[1:] for _, a in page.elements if "xlink:href" in a]
    used += re.findall(r"url\(#([^)]+)\)", files["index.html"].decode())
    assert set(used) <= set(ids)
    figures = {name for name in files if name.endswith(".png")}
    assert [tag for tag, _ in page.elements].count("svg") == len(figures) > 4
    assert len(files["index.html"]) < 400_000


def test_a_figure_shows_every_label_in_full(make_run: MakeRun, tmp_path: Path) -> None:
    label = "a_rather_long_name_of_an_algorithm with=words and=more"
    for seed in range(2):
        make_run("maml", seed)
        make_run(label, seed)
    (figure,) = [item for item in figures(compared(tmp_path / "sweep")) if item.name == "scores"]
    text = "".join(Page(draw(figure).svg).text.split())
    assert "".join(label.split()) in text


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
    assert "trained weights" not in first
    assert "trained weights" in second


def test_the_adaptation_curve_ends_at_the_score(sweep: Path) -> None:
    comparison = compared(sweep)
    (figure,) = [figure for figure in figures(comparison) if figure.name == "adaptation"]
    means = {row.name: row.estimate.mean for row in comparison.tables[0].rows}
    assert {series.label for series in figure.series} == {"MAML", "Meta-LSTM"}
    for series in figure.series:
        assert [point.x for point in series.points] == [0, 1, 2]
        assert series.points[-1].mean == pytest.approx(means[series.label])


def test_of_errors_the_smaller_is_better(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0, metric="mse", way=0)
        make_run("proto_net", seed, 4.0, metric="mse", way=0)
    comparison = compared(tmp_path / "sweep")
    (table,) = comparison.tables
    assert [row.label for row in table.rows] == ["maml", "proto_net"]
    assert [row.rank for row in table.rows] == [1, 2]
    assert format_headline(table)[0].startswith("MAML is better than ProtoNet: 2.")
    assert format_headline(table)[0].endswith("mean squared error.")
    (figure,) = [figure for figure in figures(comparison) if figure.name == "differences"]
    assert figure.series[0].points[0].low > 0
    assert not figure.percent


def test_one_seed_each_is_about_weights_and_has_no_rank_and_no_verdict(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0)
    make_run("proto_net", 0, -1.0)
    comparison = compared(tmp_path / "sweep")
    (table,) = comparison.tables
    first, second, third, *rest = format_headline(table)
    assert first.startswith("Every row has one seed: the numbers are about these trained weights")
    assert "no rank and no verdict" in first
    assert second.startswith("MAML has the best mean of these weights: ")
    assert re.match(r"ProtoNet is .* points behind MAML \(95 % interval over episodes .* to .*\): no verdict\.$", third)
    assert not re.search(r"\b(better|worse|corrected p|different)\b", " ".join([first, second, third, *rest]))
    assert [row.rank for row in table.rows] == [None, None]
    assert STAR in Page(to_html(comparison, {})).text
    assert escape_markdown(STAR) in to_markdown(comparison, {})
    lines = list(csv.DictReader(io.StringIO(to_csv(comparison)["pairs.csv"])))
    assert [(line["p"], line["p_corrected"], line["over_seeds"]) for line in lines] == [("", "", "False")]
    assert 'class="best"' not in to_html(comparison, {})


def test_rows_that_nothing_beats_are_marked_whatever_their_ranks_are(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0)
        make_run("meta_lstm", seed, -1.5)
    comparison = compared(tmp_path / "sweep")
    (table,) = comparison.tables
    assert to_html(comparison, {}).count('class="best"') == 1
    widened = [dataclasses.replace(row, rank=1, rank_last=2) for row in table.rows]
    same_ranks = dataclasses.replace(comparison, tables=[dataclasses.replace(table, rows=widened)])
    assert to_html(same_ranks, {}).count('class="best"') == 1
    undecided = [dataclasses.replace(pair, corrected=0.5) for pair in table.pairs]
    open_pairs = dataclasses.replace(comparison, tables=[dataclasses.replace(table, pairs=undecided)])
    assert to_html(open_pairs, {}).count('class="best"') == 2


def test_names_break_at_their_joints_and_numbers_keep_their_units(make_run: MakeRun, tmp_path: Path) -> None:
    assert breakable("algorithm.inner_lr=0.01 <b>") == "algorithm.<wbr>inner_<wbr>lr=<wbr>0.01 &lt;b&gt;"
    assert breakable("0.44 points, 22,033") == "0.44 points, 22,033"
    assert (
        joined("MAML 1 s, 55.5 % and 3 seeds; p < 0.05") == "MAML 1&nbsp;s, 55.5&nbsp;% and 3 seeds; p &lt;&nbsp;0.05"
    )
    assert joined("<b>x 3 s") == "&lt;b&gt;x 3&nbsp;s"
    for seed in range(3):
        make_run("maml", seed, 1.0, config={"algorithm.inner_lr": 0.1})
        make_run("meta_lstm", seed, -1.5)
    page = to_html(compared(tmp_path / "sweep"), {})
    assert "algorithm.<wbr>" in page
    assert re.search(r"\d&nbsp;points", page)
    assert "algorithm.inner_lr" in Page(page).text, "what is copied has no joints"


def test_every_cell_of_a_wide_table_names_its_column_for_narrow_screens(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0, config={"algorithm.inner_lr": 0.1})
        make_run("meta_lstm", seed, -1.5)
    page = Page(to_html(compared(tmp_path / "sweep"), {}))
    cells = [attributes for tag, attributes in page.elements if tag == "td"]
    assert cells
    assert all(cell["data-l"] for cell in cells)
    assert {"Ahead by", "Parameters", "Setting"} <= {str(cell["data-l"]) for cell in cells}
    tables = [attributes.get("class") for tag, attributes in page.elements if tag == "table"]
    assert tables[0] is None
    assert set(tables[1:]) == {"wide"}


def test_a_row_with_one_seed_is_not_ranked_among_the_others(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0)
        make_run("meta_lstm", seed, -1.5)
    make_run("proto_net", 0, 3.0)
    (table,) = compared(tmp_path / "sweep").tables
    assert [(row.label, row.rank) for row in table.rows] == [("maml", 1), ("meta_lstm", 2), ("proto_net", None)]
    caution, best, worse, ahead, *_ = format_headline(table)
    assert caution.startswith("ProtoNet has one seed: its number is about those trained weights")
    assert caution.endswith("So it has no rank and no verdict.")
    assert best.startswith("Of the rows with several seeds, MAML is better than Meta-LSTM: ")
    assert worse.startswith("Meta-LSTM is ")
    assert re.match(
        r"ProtoNet is .* points ahead of MAML \(95 % interval over episodes and the seeds of MAML .*\): no verdict",
        ahead,
    )


def test_an_open_pair_tells_what_its_interval_allows(make_run: MakeRun, tmp_path: Path) -> None:
    """No number of seeds shows a difference of nearly nothing; that does not make the true one small."""
    for seed in range(3):
        make_run("maml", seed, 1.0, n=20)
        make_run("proto_net", seed, 1.0, n=20)
    (table,) = compared(tmp_path / "sweep").tables
    pair = dataclasses.replace(table.pairs[0], required_sample=RequiredSample(None, None))
    text = " ".join(format_headline(dataclasses.replace(table, pairs=[pair])))
    most = max(abs(pair.difference.low or 0.0), abs(pair.difference.high or 0.0))
    assert f"The true difference can be as large as {most * 100:.2f} points" in text
    assert "If it is as small as measured, it takes more than 1,000 seeds or 1,000,000 episodes to show it." in text
    assert "too little" not in text
    assert "about" in " ".join(format_headline(dataclasses.replace(table, pairs=[
        dataclasses.replace(pair, required_sample=RequiredSample(None, 12))
    ])))  # fmt: skip


def test_an_open_pair_without_spread_or_difference_promises_no_sample(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0, n=20)
        make_run("proto_net", seed, 1.0, n=20)
    (table,) = compared(tmp_path / "sweep").tables
    pair = table.pairs[0]
    flat = dataclasses.replace(pair, required_sample=None)
    same = dataclasses.replace(pair, difference=dataclasses.replace(pair.difference, mean=0.0),
                               required_sample=RequiredSample(None, None))  # fmt: skip
    texts = [" ".join(format_headline(dataclasses.replace(table, pairs=[one]))) for one in (flat, same)]
    assert "No spread was measured, so we cannot say how many episodes or seeds would show it." in texts[0]
    assert "The true difference can be as large as" in texts[1]
    assert not [text for text in texts if "enough to show it" in text]
    assert "to show" not in texts[1]


def test_a_run_that_diverged_is_a_row_without_an_interval(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("maml", seed, 1.0, metric="mse", way=0)
        make_run("diverged", seed, 1e200, metric="mse", way=0)
        make_run("beyond", seed, 1e40, metric="mse", way=0)
    comparison = compared(tmp_path / "sweep")
    (table,) = comparison.tables
    assert [row.label for row in table.rows] == ["maml", "beyond", "diverged"]
    assert table.rows[2].estimate.low is None
    assert table.pairs[1].decision == "withheld"
    files = render(comparison)
    page = Page(files["index.html"].decode()).text
    assert "1e+200" in page
    assert "Not drawn, too large: beyond, diverged." in " ".join(page.split())


FILES = dict.fromkeys(("index.html", "pairs.csv", "README.md", "table.tex", "scores.png"), b"first")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", ["nothing", "an earlier comparison"])
def test_a_comparison_is_written_whole_or_not_at_all(
    before: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaexp.compare.output import write as module

    out, real = tmp_path / "out", module.write_atomically
    if before != "nothing":
        write(FILES, out)
        (out / "notes.txt").write_text("mine")

    def full(path: Path, content: bytes) -> None:
        if path.name == "table.tex":
            raise error
        real(path, content)

    monkeypatch.setattr(module, "write_atomically", full)
    second = dict.fromkeys(FILES, b"second")
    with pytest.raises(type(error)):
        write(second, out)
    left = {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}
    assert left == ({} if before == "nothing" else {**FILES, "notes.txt": b"mine"})
    assert out.exists() == (before != "nothing")
    monkeypatch.setattr(module, "write_atomically", real)
    assert {path.name for path in write(second, out)} == set(FILES)
    assert (out / "index.html").read_bytes() == b"second"


def test_what_a_killed_comparison_left_is_replaced_and_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".comparison").mkdir(parents=True)
    (out / ".comparison" / "index.html").write_text("half")
    assert is_earlier(out)
    write(FILES, out)
    assert {path.name for path in out.iterdir()} == set(FILES)
    (out / "table.tex").unlink()
    (out / "table.tex").mkdir()
    with pytest.raises(IsADirectoryError):
        write(dict.fromkeys(FILES, b"second"), out)
    assert (out / "index.html").read_bytes() == b"first"


def test_three_seeds_do_not_have_the_star(sweep: Path) -> None:
    comparison = compared(sweep)
    assert STAR not in Page(to_html(comparison, {})).text
    assert not any("one seed" in line for line in format_headline(comparison.tables[0]))


@pytest.mark.usefixtures("no_figures")
def test_a_second_comparison_leaves_no_figure_of_the_first(sweep: Path, make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(render(compared(sweep)), out)
    (out / "mine.png").write_bytes(b"")
    (out / "scores_7.png").write_bytes(b"")
    write(render(compared(sweep)), out)
    assert (out / "mine.png").exists()
    assert not (out / "scores_7.png").exists()


def test_unequal_budgets_tasks_and_networks_are_said_before_any_number(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed)
        make_run("proto_net", seed)
    assert not format_headline(compared(tmp_path / "sweep").tables[0])[0].startswith("The conditions are not equal")
    more = {"train.steps": 60, "train.n_way": 20, "train.k_shot": 5, "model._target_": "pkg.Large", "optimizer.lr": 0.1}
    for seed in range(2):
        make_run("reptile", seed, config=more)
    (table,) = compared(tmp_path / "sweep").tables
    first, *others, last = format_headline(table)
    assert first.startswith("The conditions are not equal: rows differ in the training ")
    assert re.search(r"the training tasks \(train\.n_way: (-, 20|20, -) and 1 other setting\)", first)
    assert re.search(r"the training budget \(train\.steps: (60, 6000|6000, 60)\)", first)
    assert re.search(r"the network \(model\._target_: (-, Large|Large, -)\)", first)
    assert "A row can be better because of this, and not because of its algorithm." in first
    assert not [line for line in others if "conditions are not equal" in line]
    assert re.search(r"Rows also differ in (optimizer, )?optimizer\.lr", last)


def test_tables_of_later_tests_have_no_learning_curves_of_other_tasks(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("maml", seed)
        make_run("proto_net", seed)
    found = gather([tmp_path / "sweep"])
    later = [
        dataclasses.replace(
            run, record=dataclasses.replace(run.record, task=Task(5, 3, 5)), bank="b" * 64, is_later=True
        )
        for run in found.runs
    ]
    both = compare([*found.runs, *later], [], [], decide, "Title", "metaexp compare x")
    assert len(both.tables) == 2
    assert [figure.name for figure in figures(both) if "learning" in figure.name] == ["learning_1"]
    again = compare(
        [*found.runs, *(dataclasses.replace(run, is_later=False) for run in later)], [], [], decide, "Title", "x"
    )
    assert [figure.name for figure in figures(again) if "learning" in figure.name] == ["learning_1", "learning_2"]


def test_first_weights_are_named_and_their_digest_is_short(make_run: MakeRun, tmp_path: Path) -> None:
    start = InitialWeights("pretrained", "12" * 32, "model.", ["head"], [], [], [])
    for seed in range(2):
        make_run("maml", seed)
        make_run("maml", seed, config={"model.weights_sha256": "12" * 32}, initial_weights=start)
        make_run("maml", seed, config={"model.weights_sha256": "34" * 32})  # as in a record that does not name the file
    (table,) = compared(tmp_path / "sweep").tables
    text = "\n".join(format_headline(table))
    names = {f"maml model.weights={name}" for name in ("pretrained (121212121212)", "343434343434", "null")}
    assert {row.label for row in table.rows} == names
    assert "pretrained (121212121212)" in text
    assert "weights_sha256" not in text
    assert "12" * 7 not in text
    (difference,) = [item for item in table.differences if item.key.startswith("model.weights")]
    assert sorted(difference.values) == ["343434343434", "null", "pretrained (121212121212)"]


def test_where_first_weights_lie_makes_no_row(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        config = {"model.weights": f"/somewhere/{seed}/pretrained", "model.weights_sha256": "12" * 32}
        make_run(
            "maml", seed, config=config, initial_weights=InitialWeights("pretrained", "12" * 32, "", [], [], [], [])
        )
    (table,) = compared(tmp_path / "sweep").tables
    assert [row.label for row in table.rows] == ["maml"]
