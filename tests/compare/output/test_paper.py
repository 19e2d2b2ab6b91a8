"""``compare --paper``: figures, tables that fit a column, BibTeX, an appendix, and that LaTeX takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from records import make_record
from sampling import only_exhaustive

from metaexp.compare.comparison import ComparedRuns, compare
from metaexp.compare.gather import gather
from metaexp.compare.output import paper_figures
from metaexp.compare.output.colours import PALETTE, Look, looks_of
from metaexp.compare.output.draw import Drawn
from metaexp.compare.output.figure_data import FigureData, Point, Series
from metaexp.compare.output.figures import figures
from metaexp.compare.output.paper import format_paper, paper_files, to_appendix, to_tables
from metaexp.compare.output.paper_figures import WIDTHS, draw_paper
from metaexp.compare.output.write import render, write
from metaexp.results.display.names import ALGORITHMS, format_label, papers_of, to_bibtex
from metaexp.results.figures.style import STYLE
from tests.compare.conftest import HOSTILE, MakeRun, decide, factory_of_runs

NAMES = list(ALGORITHMS)


def compared(folder: Path) -> ComparedRuns:
    found = gather([folder])
    return compare(found.runs, found.left_out, [], decide, "A comparison & its page", "metaexp compare x")


def text_of(comparison: ComparedRuns, name: str) -> str:
    return format_paper(comparison, figures(comparison))[name]


def data_of(n_rows: int, kind: str) -> FigureData:
    """A figure with so many rows, named as the shipped algorithms with and without settings."""
    names = [item.name for item in ALGORITHMS.values()]
    series = []
    for number in range(n_rows):
        name = names[number % len(names)] + f" inner_lr={number / 100} optimizer.lr=0.001" * (number >= len(names))
        xs = (0,) if kind == "dots" else (100, 200, 300)
        points = [Point(x, 0.5 + number / 100, 0.4 + number / 100, 0.6 + number / 100) for x in xs]
        series.append(Series(name, Look(number), points, [0.45, 0.55]))
    return FigureData(
        kind, "A title", kind, series, "points of accuracy behind MAML inner_lr=0.1", "y", True, "A note."
    )


@pytest.mark.parametrize("kind", ["dots", "lines"])
def test_figures_are_pdf_and_svg_as_wide_as_one_column_and_as_two(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(3, kind)
    files = draw_paper(data)
    assert len(files) == 4
    for name, width in WIDTHS.items():
        box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", files[f"paper-{kind}-{name}.pdf"])
        assert box is not None
        assert float(box[1]) == pytest.approx(72 * width.inches)
        root = ElementTree.fromstring(files[f"paper-{kind}-{name}.svg"])
        assert root.get("width") == f"{72 * width.inches:g}pt"
    monkeypatch.setattr(paper_figures, "WIDTHS", {"1col": WIDTHS["1col"]})
    again, other = draw_paper(data), draw_paper(data_of(2, kind))
    assert again == {name: files[name] for name in other}  # byte for byte
    assert all(files[name] != content for name, content in other.items())


def test_a_table_has_means_with_intervals_the_best_in_bold_and_equals_marked(sweep: Path) -> None:
    table = to_tables(compared(sweep))
    lines = {line.split(" & ")[0]: line for line in table.splitlines() if " & $" in line}
    assert set(lines) == {"MAML", "ProtoNet", "Meta-LSTM"}
    best, tied = sorted(("MAML", "ProtoNet"), key=lambda name: "mathbf" in lines[name], reverse=True)
    assert re.search(r"\$\\mathbf\{\d\d\.\d\d\}(\\,\{\}\^\{\+[\d.]+\}_\{-[\d.]+\}| \\pm [\d.]+)\$", lines[best])
    assert lines[tied].endswith(r"{}^{\dagger}$ \\")
    assert "mathbf" not in lines[tied]
    assert "dagger" not in lines["Meta-LSTM"]
    assert "mathbf" not in lines["Meta-LSTM"]
    for text in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:omniglot-5-way-1-shot}", r"\columnwidth"):
        assert text in table
    assert "Test accuracy (\\%) on omniglot, 5-way 1-shot, on the same 80 test episodes for all." in table
    assert "Means over 3 seeds with 95 \\% intervals. Best mean in bold. A dagger marks" in table


def test_one_seed_is_not_the_best_and_the_caption_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, 2.0)
    make_run("proto_net", 0, 1.0)
    table = to_tables(compared(tmp_path / "sweep"))
    assert "mathbf" not in table
    assert "dagger" not in table
    assert "One seed each: 95 \\% intervals over episodes, about these weights and not the algorithms." in table
    for seed in (1, 2):
        make_run("maml", seed, 2.0)
    table = to_tables(compared(tmp_path / "sweep"))
    assert "Means over 1 to 3 seeds with 95 \\% intervals. An asterisk marks one seed" in table
    (line,) = [line for line in table.splitlines() if line.startswith("ProtoNet")]
    assert "^{*}$" in line


def test_several_tasks_have_a_table_each_and_one_of_all(make_run: MakeRun, tmp_path: Path) -> None:
    for shot in (1, 5):
        for seed in range(2):
            make_run("maml", seed, 2.0, shot=shot)
            make_run("proto_net", seed, 1.0, shot=shot)
    make_run("reptile", 0, 1.0, shot=5)
    tables = to_tables(compared(tmp_path / "sweep"))
    assert tables.count(r"\begin{table}") == 2
    assert tables.count(r"\begin{table*}") == 1
    whole = tables.partition(r"\begin{table*}")[2]
    assert r"\label{tab:all-tasks}" in whole
    (line,) = [line for line in whole.splitlines() if line.startswith("Reptile")]
    assert line.startswith("Reptile & -- & $")


def test_the_bibliography_has_the_papers_of_the_algorithms_that_ran(sweep: Path) -> None:
    bibliography = text_of(compared(sweep), "paper-references.bib")
    cited = {"finn2017maml", "ravi2017optimization", "snell2017prototypical"}
    assert set(re.findall(r"@\w+\{(\w+),", bibliography)) == cited
    assert "title = {Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks}" in bibliography
    assert papers_of(["mine", "nearest_neighbour"]) == []
    assert to_bibtex([]) == ""
    every = to_bibtex(papers_of(NAMES))
    assert len(re.findall(r"^@", every, re.MULTILINE)) == len(NAMES) - 1
    assert every.count("{") == every.count("}")


def test_every_shipped_algorithm_has_a_name_and_a_colour_of_its_own() -> None:
    root = Path(__file__).parents[3]
    assert {path.stem for path in (root / "conf" / "algorithm").glob("*.yaml")} == set(ALGORITHMS)
    assert len({item.name for item in ALGORITHMS.values()}) == len(ALGORITHMS)
    assert len(set(PALETTE)) == len(PALETTE) >= len(ALGORITHMS)


@pytest.mark.parametrize(
    ("label", "algorithm", "first_order", "shown"),
    [
        ("proto_net", "proto_net", None, "ProtoNet"),
        ("maml", "maml", True, "MAML (first order)"),
        ("maml first_order=true inner_lr=0.1", "maml", True, "MAML (first order) inner_lr=0.1"),
        ("maml first_order=false", "maml", False, "MAML"),
        ("mine first_order=true", "mine", True, "mine first_order=true"),
        ("maml_first_order", "maml", True, "MAML (first order)"),
        ("maml_first_order_two_cores inner_lr=0.1", "maml", True, "MAML (first order) two_cores inner_lr=0.1"),
        ("maml_two_cores", "maml", False, "MAML two_cores"),
        ("mamlish", "maml", False, "mamlish"),
        (
            "mine a=0.00012345678 b=1e-05 c=1234567890 d=0.0001",
            "mine",
            False,
            "mine a=0.0001235 b=1e-05 c=1234567890 d=0.0001",
        ),
        ("mine_two_cores", "mine", False, "mine_two_cores"),
        (f"maml a={64 * '7'} b={63 * '7'}", "maml", False, f"MAML a={12 * '7'} b={63 * '7'}"),
        ("train.steps=5", "maml", False, "train.steps=5"),
    ],
)
def test_names_are_in_full(label: str, algorithm: str, first_order: bool | None, shown: str) -> None:
    config = {} if first_order is None else {"algorithm": {"first_order": first_order}}
    assert format_label(label, algorithm, config) == shown


def test_an_algorithm_has_its_colour_in_every_comparison(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("reptile", seed)
        make_run("mine", seed)
        make_run("maml", seed, config={"algorithm.inner_lr": 0.1})
        make_run("maml", seed, config={"algorithm.inner_lr": 0.2})
    rows = compared(tmp_path / "sweep").tables[0].rows
    looks = looks_of(rows)
    assert looks["reptile"] == Look(NAMES.index("reptile"))
    assert looks["maml inner_lr=0.1"] == Look(NAMES.index("maml"))
    assert looks["maml inner_lr=0.2"] == Look(NAMES.index("maml"), 1), "the rows of an algorithm share its colour"
    assert looks["mine"].colour not in (NAMES.index("reptile"), NAMES.index("maml"))
    alone = looks_of([row for row in rows if row.label == "reptile"])
    assert alone == {"reptile": looks["reptile"]}
    only = looks_of([row for row in rows if row.label.startswith("maml")])
    assert len({look.colour for look in only.values()}) == 2, "of one algorithm alone, each row has a colour"


def test_the_appendix_has_every_setting_and_nothing_of_the_machine(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (3, 4):
        make_run("maml", seed, config={"algorithm.inner_lr": 0.1})
        make_run("proto_net", seed)
    plain = to_appendix(compared(tmp_path / "sweep")).replace(r"\allowbreak{}", "")
    assert r"\texttt{algorithm.inner\_lr} & 0.1 \\" in plain
    assert r"\texttt{algorithm.inner\_lr} & 0.4 \\" in plain
    assert r"\texttt{train.steps} & 6000 \\" in plain
    assert [sorted(found) for found in re.findall(r"texttt\{seeds\} & (\d), (\d) ", plain)] == [["3", "4"]] * 2
    assert "someone" not in plain
    assert "paths." not in plain
    assert plain.count("\\newpage\\fi\n\\subsection") == 3, "no heading at the foot of a page"


@pytest.mark.parametrize("n_rows", [2, 12, 40])
@pytest.mark.parametrize("kind", ["dots", "lines"])
def test_no_name_in_a_figure_is_cut_or_over_another(n_rows: int, kind: str) -> None:
    data = data_of(n_rows, kind)
    for width in WIDTHS.values():
        with matplotlib.rc_context({**STYLE, **paper_figures._SMALL, "text.parse_math": False}):
            figure = paper_figures._figure(data, width)
            figure.canvas.draw()
            names = figure.axes[0].get_yticklabels() if kind == "dots" else figure.legends[0].get_texts()
            texts = [*names, figure.axes[0].xaxis.label]
            boxes = [text.get_window_extent().padded(-1) for text in texts]
            edge = figure.bbox
        assert len(boxes) == n_rows + 1
        assert all(b.x0 >= 0 and b.x1 <= edge.x1 and b.y0 >= 0 and b.y1 <= edge.y1 for b in boxes)
        assert not [1 for i, box in enumerate(boxes) for other in boxes[i + 1 :] if box.overlaps(other)]
        axes = figure.axes[0].get_position()
        assert axes.width * width.inches > 1.0
        assert axes.height * figure.get_figheight() > 0.3


def test_files_for_a_paper_are_written_on_request_and_replaced_with_the_others(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.compare.output.write.draw", lambda _: Drawn(b"", "<svg></svg>"))
    monkeypatch.setattr("metaexp.compare.output.paper.draw_paper", lambda data: {f"paper-{data.name}-1col.pdf": b""})
    comparison = compared(sweep)
    assert not [name for name in render(comparison) if name.startswith("paper")]
    place = tmp_path / "made"
    written = {path.name for path in write(render(comparison, for_paper=True), place)}
    texts = {"paper.tex", "paper-table.tex", "paper-appendix.tex", "paper-references.bib"}
    assert texts | {"paper-scores-1col.pdf"} <= written
    write(render(comparison), place)
    assert list(place.glob("paper*")) == []


def compiled(comparison: ComparedRuns, folder: Path) -> str:
    """What pdflatex says of ``paper.tex`` with the first figure."""
    folder.mkdir()
    for name, content in paper_files(comparison, figures(comparison)[:1]).items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    latex, bibtex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"], ["bibtex", "paper"]
    is_cited = "\\cite{" in (folder / "paper.tex").read_text()
    for words in (latex, bibtex, latex, latex) if is_cited else (latex, latex):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
        assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "paper.pdf").stat().st_size > 10_000
    return (folder / "paper.log").read_text(errors="replace")


needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None or shutil.which("bibtex") is None,
    reason="pdflatex and bibtex are not installed (Debian: texlive-latex-base, texlive-latex-recommended)",
)


@needs_latex
def test_the_paper_compiles_and_nothing_is_wider_than_its_column(make_run: MakeRun, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        for seed, shot in ((0, 1), (1, 1), (0, 5), (1, 5)):
            make_run(name, seed, 2.0 - number / 10, shot=shot)
    log = compiled(compared(tmp_path / "sweep"), tmp_path / "paper")
    assert "Overfull \\hbox" not in log
    assert "undefined" not in log


@pytest.fixture(scope="module")
def forty_rows(tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    """A comparison of forty rows: eight algorithms with five learning rates each, two seeds."""
    sweep = tmp_path_factory.mktemp("forty")
    make_run = factory_of_runs(make_record(), sweep)
    for name in NAMES[:8]:
        for place, lr in enumerate((0.0003, 0.001, 0.003, 0.01, 0.03)):
            for seed in range(2):
                make_run(name, seed, 2.0 - place / 5, config={"optimizer.lr": lr})
    return compared(sweep)


@only_exhaustive
@pytest.mark.slow
def test_a_table_of_forty_rows_is_broken_since_a_float_is_not(forty_rows: ComparedRuns) -> None:
    text = to_tables(forty_rows)
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2
    assert text.count("\\addtocounter{table}{-1}\n\\caption{(continued)}") == text.count("\\label{") == 1
    assert len([line for line in text.split("\n") if " & $" in line]) == len(forty_rows.tables[0].rows) == 40


@only_exhaustive
@pytest.mark.slow
@needs_latex
def test_no_table_or_figure_of_forty_rows_is_higher_than_its_page(forty_rows: ComparedRuns, tmp_path: Path) -> None:
    log = compiled(forty_rows, tmp_path / "paper")
    assert "too large" not in log
    assert "Overfull" not in log


@needs_latex
def test_hostile_names_compile_and_are_not_commands(make_run: MakeRun, tmp_path: Path) -> None:
    for name in [*HOSTILE, "\\input{/etc/passwd}", "a" * 200, "\N{SNOWMAN}"]:
        make_run(name, 0, dataset="<i>data_1</i>")
        make_run(name, 1, dataset="<i>data_1</i>")
    assert "(/etc/passwd" not in compiled(compared(tmp_path / "sweep"), tmp_path / "paper")


def test_hostile_names_stand_in_latex_as_text(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("\\input{x-hostile}", seed, dataset="$x$ & %")
    comparison = compared(tmp_path / "sweep")
    for name in ("paper-table.tex", "paper-appendix.tex", "paper.tex"):
        text = text_of(comparison, name).replace(r"\allowbreak{}", "")
        assert "\\input{x-hostile}" not in text
        assert "$x$" not in text
    assert r"\textbackslash{}input\{x-hostile\}" in text_of(comparison, "paper-table.tex")


def test_a_long_name_is_broken_in_the_table_and_values_of_the_appendix_keep_their_blanks(
    make_run: MakeRun, tmp_path: Path
) -> None:
    long = "mine_with_a_name_that_no_column_of_a_paper_can_hold"
    for seed in range(2):
        make_run("maml", seed, config={"reference.paper": "Finn, Abbeel & Levine, 2017"})
        make_run(long, seed)
    comparison = compared(tmp_path / "sweep")
    assert r"mine\_\allowbreak{}with\_\allowbreak{}a" in text_of(comparison, "paper-table.tex")
    appendix = text_of(comparison, "paper-appendix.tex").replace(r"\allowbreak{}", "")
    assert r"Finn, Abbeel \& Levine, 2017" in appendix


def test_rows_that_would_share_a_name_have_their_labels(make_run: MakeRun, tmp_path: Path) -> None:
    settings = {"algorithm.first_order": True}
    make_run("maml", 0, config=settings, experiment="maml_first_order_omniglot_5way_1shot")
    make_run("maml", 0, config=settings | {"algorithm.inner_lr": 0.3})
    rows = compared(tmp_path / "sweep").tables[0].rows
    assert {row.name for row in rows} == {"maml", "maml_first_order"}


def test_one_step_of_adaptation_has_no_figure(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("maml", 0, steps=1)
    assert not [figure for figure in figures(compared(tmp_path / "sweep")) if figure.name == "adaptation"]
    make_run("reptile", 0, steps=2)
    (figure,) = [figure for figure in figures(compared(tmp_path / "sweep")) if figure.name == "adaptation"]
    assert {len(series.points) for series in figure.series} == {2, 3}
