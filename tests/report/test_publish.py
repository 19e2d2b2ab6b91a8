"""What is copied into the documentation, and what must not be."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from metaexp.cli.main import main
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, encode, read_lines
from metaexp.report.pages import Entry, format_short_table
from metaexp.report.publish import MOST_BYTES, TRAIN_LINES, publish
from metaexp.report.rows import grouped
from metaexp.report.run_page import format_run_page
from metaexp.results.episodes import EPISODES_FILE, write_episodes
from metaexp.results.privacy import clean_text, clean_yaml
from metaexp.results.record import RunRecord, Score, read_record, write_record

CONFIG = """\
seed: 0
paths:
  data: /home/someone/data
  outputs: C:\\Users\\someone\\out
tracker:
  wandb:
    entity: someone
    project: metaexp
dataset:
  folder: '/srv/someone/pictures'
  data: relative/data
"""


@pytest.fixture
def run(record: RunRecord, tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "run"
    (folder / "plots").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.safetensors").write_bytes(b"weights")
    (folder / "plots" / "curve.png").write_bytes(b"picture")
    (folder / "run.log").write_text("on host somewhere")
    (folder / "config.yaml").write_text(CONFIG)
    lines = [encode(step, {"train/loss": 1 / step}) for step in range(1, 1200)]
    lines += [encode(step, {"val/accuracy": 0.5}) for step in range(100, 1200, 100)]
    (folder / METRICS_FILE).write_bytes(b"".join(lines))
    write_episodes(folder / EPISODES_FILE, [[0.2, 0.4], [0.8, 1.0]])
    write_record(record, folder)
    return folder


def test_the_copy_reads_as_a_record_and_leaves_logs_and_weights_without_a_manifest_behind(
    run: Path, tmp_path: Path
) -> None:
    target = publish(run, tmp_path / "results")
    assert target == tmp_path / "results" / "maml_omniglot_5way_1shot"
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == {
        "record.json", "config.yaml", METRICS_FILE, EPISODES_FILE, "plots/curve.png",
    }  # fmt: skip
    copy, original = read_record(target), read_record(run)
    assert (copy.test, copy.config_hash, copy.verdict) == (original.test, original.config_hash, original.verdict)


def test_a_run_on_a_stand_in_is_not_published_under_the_name_of_its_experiment(
    record: RunRecord, run: Path, tmp_path: Path
) -> None:
    config = {**record.config, "dataset": {"stand_in": True}}
    name = "maml_omniglot_5way_1shot-stand_in-5way_1shot-seed0"
    write_record(dataclasses.replace(record, config=config, name=name, dataset="omniglot (stand-in)"), run)
    target = publish(run, tmp_path / "results")
    assert target.name == name
    verdict = read_record(target).verdict
    assert verdict is not None
    assert verdict.text == "made on a stand-in: says nothing about the published number"
    page = format_run_page(Entry("mine", read_record(target), False), target)
    assert "# mine (stand-in)\n" in page
    assert "maml on omniglot (stand-in)" in page
    assert "[mine (stand-in)](x/mine/README.md)" in format_short_table([Entry("mine", read_record(target), False)], "x")


def test_the_page_of_a_run_with_many_adaptation_steps_shows_some_of_them(record: RunRecord, tmp_path: Path) -> None:
    scores = [Score("accuracy", 0.2 + step / 100, 0.01, 600) for step in range(51)]
    page = format_run_page(Entry("mine", dataclasses.replace(record, after_steps=scores), False), tmp_path)
    table = page.partition("| Adaptation steps |")[2].partition("\n\n")[0]
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == [
        "0",
        "1",
        "2",
        "5",
        "10",
        "20",
        "50",
    ]
    assert "| 50 | 70.00 ± 1.00 % |" in table


def test_nothing_in_the_copy_names_the_machine_or_the_user(run: Path, tmp_path: Path) -> None:
    target = publish(run, tmp_path / "results")
    text = "".join(path.read_text() for path in target.rglob("*") if path.suffix in {".json", ".yaml", ".jsonl"})
    for private in ("someone", "/home", "C:\\", "/srv", str(tmp_path)):
        assert private in CONFIG + (run / "record.json").read_text() + str(tmp_path)
        assert private not in text
    assert "'<path>'" in text


def test_overrides_that_compose_the_run_again_are_kept_and_private_ones_are_not(run: Path, tmp_path: Path) -> None:
    assert read_record(publish(run, tmp_path / "results")).overrides == ["train.steps=6000"]


def test_a_configuration_keeps_everything_else() -> None:
    assert clean_yaml(CONFIG).splitlines() == [
        "seed: 0", "paths:", "  data: ./data", "  outputs: ./outputs", "tracker:", "  wandb:", "    entity: null",
        "    project: metaexp", "dataset:", "  folder: '<path>'", "  data: relative/data",
    ]  # fmt: skip


def test_long_training_metrics_are_thinned_and_validation_is_not(run: Path, tmp_path: Path) -> None:
    lines = list(read_lines(publish(run, tmp_path / "results") / METRICS_FILE))
    train = [step for step, values in lines if "train/loss" in values]
    assert len(train) <= TRAIN_LINES
    assert set(train) <= set(range(1, 1200))
    assert [step for step, values in lines if "val/accuracy" in values] == list(range(100, 1200, 100))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("see /home/a/b.txt, please", "see <path>, please"),
        ("paths.data=/mnt/x", "paths.data=<path>"),
        ("~/data and ~bob/data", "<path> and <path>"),
        (r"D:\data\x", "<path>"),
        ("['/a/b', '/c']", "['<path>', '<path>']"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("train/loss 1/2 a / b ~3 points", "train/loss 1/2 a / b ~3 points"),
        ("./data ../data data/x", "./data ../data data/x"),
        ("-> /x/y", "-> <path>"),
    ],
)
def test_absolute_paths_are_blanked_and_nothing_else(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_an_earlier_copy_is_replaced_but_no_other_folder(run: Path, record: RunRecord, tmp_path: Path) -> None:
    target = publish(run, tmp_path / "results", "mine")
    (target / "left_over.txt").write_text("")
    assert publish(run, tmp_path / "results", "mine") == target
    assert not (target / "left_over.txt").exists()
    other = tmp_path / "results" / "notes"
    other.mkdir()
    (other / "important.txt").write_text("")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        publish(run, tmp_path / "results", "notes")
    assert (other / "important.txt").exists()


@pytest.mark.parametrize("changes", [{"status": "interrupted"}, {"status": "running"}, {"test": None}])
def test_a_run_that_is_not_finished_is_not_published(
    changes: dict[str, str | None], run: Path, record: RunRecord, tmp_path: Path
) -> None:
    write_record(dataclasses.replace(record, **changes), run)  # type: ignore[arg-type]
    with pytest.raises(RunFolderError, match="only a completed run"):
        publish(run, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["../../outputs/my_run", "/tmp/x", "..", ".hidden", "a/b", "", "x\n"])
def test_a_strangers_name_is_refused_and_nothing_outside_is_touched(
    run: Path, record: RunRecord, tmp_path: Path, name: str
) -> None:
    results = tmp_path / "docs" / "results"
    results.mkdir(parents=True)
    mine = tmp_path / "outputs" / "my_run"
    mine.mkdir(parents=True)
    write_record(record, mine)
    (mine / "precious").write_text("kept")
    write_record(dataclasses.replace(record, experiment=name, name=name), run)
    with pytest.raises(RunFolderError, match="Give the copy a name with --name"):
        publish(run, results)
    assert (mine / "precious").read_text() == "kept"
    assert list(results.iterdir()) == []


def test_a_copy_is_not_written_through_a_link(run: Path, record: RunRecord, tmp_path: Path) -> None:
    results, mine = tmp_path / "results", tmp_path / "mine"
    results.mkdir()
    mine.mkdir()
    write_record(record, mine)
    (results / "linked").symlink_to(mine)
    with pytest.raises(RunFolderError, match="is a link"):
        publish(run, results, "linked")
    assert (mine / "record.json").exists()


@pytest.mark.parametrize(
    "name", ["config.yaml", "choices.yaml", METRICS_FILE, EPISODES_FILE, "plots/curve.png", "plots/new.png", "plots"]
)
@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_nothing_is_copied_through_a_link_and_the_earlier_copy_stays(
    kind: str, name: str, run: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "key").write_text("private")
    (secret / "key.png").write_text("private")
    publish(run, tmp_path / "results", "mine")
    place = run / name
    if place.exists():
        place.rename(tmp_path / "aside")
    if kind == "link":
        place.symlink_to(secret if name == "plots" else secret / "key")
    elif name == "plots":
        pytest.skip("a FIFO holds no files")
    else:
        os.mkfifo(place)
    with pytest.raises(RunFolderError, match="symbolic link|FIFO"):
        publish(run, tmp_path / "results", "mine")
    assert (tmp_path / "results" / "mine" / "plots" / "curve.png").read_bytes() == b"picture"
    assert "private" not in "".join(p.read_text() for p in (tmp_path / "results").rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["a b.png", "x](http:y).png", ".png", "<b>.png"])
def test_a_name_that_means_something_on_a_page_is_refused(name: str, run: Path, tmp_path: Path) -> None:
    (run / "plots" / name).write_bytes(b"")
    with pytest.raises(RunFolderError, match="cannot stand on a page"):
        publish(run, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_selected_weights_are_copied_as_they_are_unless_they_are_large(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "best.json").write_bytes(b"manifest")
    (run / "checkpoints" / "step_000000012.safetensors").write_bytes(b"state")
    copied = publish(run, tmp_path / "results") / "checkpoints"
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == {
        "best.json": b"manifest", "best.safetensors": b"weights",
    }  # fmt: skip
    (run / "checkpoints" / "best.safetensors").write_bytes(bytes(MOST_BYTES + 1))
    assert not (publish(run, tmp_path / "results") / "checkpoints").exists()


def test_weights_are_not_read_through_a_link(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "best.json").write_bytes(b"manifest")
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    (run / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match="checkpoints is a symbolic link, so it was not opened"):
        publish(run, tmp_path / "results")


def test_a_folder_without_published_results_is_refused_with_where_to_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"--root {tmp_path}: there is no README.md with a docs/results folder beside it" in said
    assert "Call `metaexp report` in the repository of metaexp" in said


def test_the_first_sentence_of_a_page_is_about_all_seeds(record: RunRecord, tmp_path: Path) -> None:
    means = (0.98, 0.99, 0.985)
    one, two, three = (
        Entry(
            f"mine{'' if seed == 0 else f'-seed{seed}'}",
            dataclasses.replace(record, seed=seed, test=Score("accuracy", mean, 0.004, 600)),
            False,
        )
        for seed, mean in enumerate(means)
    )
    (row,) = grouped([one, two, three])
    page = format_run_page(one, tmp_path, row)
    assert "maml on omniglot, 5-way 1-shot: **98.50 ± " in page
    assert "(accuracy, mean of 3 seeds)." in page
    assert page.index("mean of 3 seeds") < page.index("| [0](") < page.index("```")
    alone = format_run_page(one, tmp_path)
    assert "**98.00 ± 0.40 %** (accuracy)." in alone
