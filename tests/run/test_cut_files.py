"""A run folder of somebody else, with a file cut off or edited: each command names the file, and says what to do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.errors import RunFolderError
from metaexp.results.record import read_record
from metaexp.run.integrity import check_run_files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """A finished run."""
    return mx.train(
        "dataset=sinusoid", "train.steps=1", "train.eval_every=1", "train.eval_episodes=4", "eval.episodes=4",
        "tracker=files", "device=cpu", "device.threads=1", folder=tmp_path_factory.mktemp("run") / "run",
    )  # fmt: skip


@pytest.fixture
def copy(run: mx.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "copy"))


def commands(folder: Path, place: Path) -> list[list[str]]:
    """Each command that reads the configuration of a run."""
    x = str(place / "x.npz")
    return [
        ["evaluate", str(folder), "eval.episodes=3"],
        ["predict", str(folder), "--support", x, "--query", x],
        ["reproduce", str(folder)],
        ["train", f"resume={folder}"],
        ["train", f"from={folder}", "train.steps=2", f"paths.outputs={place}"],
    ]


def errors(folder: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    (place / "x.npz").touch()
    found = []
    for command in commands(folder, place):
        capsys.readouterr()
        assert main(command) == 4, command
        found.append(capsys.readouterr().err.strip())
    return found


@pytest.mark.parametrize(
    ("name", "part"),
    [("config.yaml", 0.0), ("config.yaml", 0.3), ("config.yaml", 0.62), ("choices.yaml", 0.62), ("record.json", 0.0),
     ("record.json", 0.3)],
)  # fmt: skip
def test_a_file_that_is_cut_off_is_to_be_restored(
    name: str, part: float, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(len(content) * part)])
    for error in errors(copy, tmp_path, capsys):
        assert "estore" in error
        assert name in error


def test_choices_that_are_cut_off_anywhere_are_to_be_restored(copy: Path) -> None:
    """Also where they are still YAML: what is left would give the run another name."""
    path, record = copy / "choices.yaml", read_record(copy)
    content = path.read_bytes()
    assert content.splitlines()[-1].startswith(b"model:")
    for length in range(len(content) - 1):  # without the last line feed, nothing is missing
        path.write_bytes(content[:length])
        with pytest.raises(RunFolderError, match=r"choices\.yaml.*Restore it"):
            check_run_files(copy, record)
    path.write_bytes(content)
    check_run_files(copy, record)


@pytest.mark.parametrize("group", ["algorithm", "model", "dataset"])
def test_choices_without_a_group_are_to_be_restored(
    group: str, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "choices.yaml"
    path.write_text("".join(line for line in path.open() if not line.startswith(f"{group}:")))
    for error in errors(copy, tmp_path, capsys):
        assert f"choices.yaml: {group} is not there, and in record.json it is " in error


def test_a_run_of_a_class_for_which_no_file_was_chosen_is_intact_without_its_group(copy: Path) -> None:
    path, record = copy / "choices.yaml", read_record(copy)
    path.write_text("".join(line for line in path.open() if not line.startswith("algorithm:")))
    check_run_files(copy, replace(record, algorithm=record.config["algorithm"]["_target_"].rpartition(".")[2]))
    with pytest.raises(RunFolderError, match="algorithm is not there"):
        check_run_files(copy, record)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [("seed: 0", "seed: 1", "seed was 0 and is 1"), ("\ntask:", "\ntusk:", "tusk"), ("k_shot: 10", "k_shot: -3", "-3")],
)
def test_an_edited_configuration_is_refused_with_the_key_that_was_edited(
    old: str, new: str, key: str, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / "config.yaml").read_text()
    assert old in text
    (copy / "config.yaml").write_text(text.replace(old, new, 1))
    for error in errors(copy, tmp_path, capsys):
        assert key in error
        assert "config.yaml" in error
        assert "estore" in error


def test_an_intact_copy_is_tested(copy: Path) -> None:
    assert main(["evaluate", str(copy), "eval.episodes=3"]) == 0
