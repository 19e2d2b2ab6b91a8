"""Folders with unusual names, as users type them."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from metaexp.cli.arguments import starts_with_folder
from metaexp.cli.main import main
from metaexp.run.folder import check_room
from metaexp.run.own_options import resume_command

OLD = Path(__file__).resolve().parents[1] / "old_runs" / "completed"


@pytest.mark.parametrize("verb", ["evaluate", "reproduce"])
def test_a_run_in_a_folder_with_an_equals_sign_is_found(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, tmp_path / "lr=0.1,seed=7")
    assert main([verb, "lr=0.1,seed=7", "task.n_way=-1"]) == 2
    assert "n_way" in capsys.readouterr().err
    assert main([verb, "lr=0.2,seed=7"]) == 2
    assert "n_way" not in capsys.readouterr().err


def test_a_value_is_not_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert starts_with_folder(["a_run"])
    assert not starts_with_folder(["seed=3"])
    assert not starts_with_folder([])


@pytest.mark.parametrize("name", ["plain", "with space", "it's", "$HOME", "a;b", "lr=0.1"])
def test_the_command_that_continues_a_run_can_be_pasted_into_a_shell(name: str) -> None:
    assert shlex.split(resume_command(Path("outputs") / name)) == ["metaexp", "train", f"resume=outputs/{name}"]


def test_an_override_written_as_an_option_is_shown_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("train", "data"):
        with pytest.raises(SystemExit) as caught:
            main([verb, "--train.steps=5", "--seed=3"])
        assert caught.value.code == 2
        assert "write train.steps=5 seed=3, without --" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--seed", "3"], "unrecognized arguments: --seed; write seed=VALUE, without --"),
        (["--train.steps", "3"], "; write train.steps=VALUE, without --"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option\n"),
        (["-x"], "unrecognized arguments: -x\n"),
    ],
)
def test_a_key_written_as_an_option_without_a_value_is_shown_as_it_should_be(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", *words])
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", [["report", "run"], ["compare", "run"], ["why", "a", "b"], ["trust"]])
def test_a_verb_without_overrides_does_not_propose_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--no.such=3"])
    error = capsys.readouterr().err
    assert "unrecognized arguments: --no.such=3" in error
    assert "without --" not in error


PLACES = {"through a file": "a_file/x", "through a loop of links": "loop/x", "a name that is too long": "a" * 300}
OUTPUTS = {
    "compare": ["compare", str(OLD), "--output"],
    "sweep": ["train", "-m", "seed=0,1", "train.steps=1", "hydra.sweep.dir="],
    "plan": ["plan", "seed=0,1", "paths.outputs="],
    "search": ["search", "algorithm.inner_lr=tag(log,interval(0.01,1))", "search.trials=1", "search.folder="],
    "wandb-sweep": ["wandb-sweep", "algorithm.inner_lr=tag(log,interval(0.01,1))", "--output"],
    "picture": ["data", "dataset=glyphs", "--picture"],
    "reproduce": ["reproduce", str(OLD), "paths.outputs="],
    "run": ["train", "train.steps=1", "paths.outputs="],
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("command", OUTPUTS.values(), ids=list(OUTPUTS))
def test_a_place_that_cannot_be_written_to_is_one_line(
    command: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    (tmp_path / "loop").symlink_to("loop")
    *rest, last = command
    arguments = [*rest, last + place] if last.endswith("=") else [*command, f"{place}/x.png"]
    assert main(arguments) in (2, 6)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert place.partition("/")[0][:20] in lines[0]
    assert "continues with" not in lines[0]  # nothing has begun
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_file", "loop"]


@pytest.mark.parametrize("name", ["sweep", "search", "run"])
def test_a_folder_below_one_that_takes_none_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    *rest, last = OUTPUTS[name]
    assert main([*rest, f"{last}/proc/x"]) == 6
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "/proc cannot be used" in line
    assert "nothing can be made there" in line


def test_an_error_that_may_be_our_own_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: list[str]) -> int:
        raise FileNotFoundError(2, "No such file or directory", "forgotten.css")

    monkeypatch.setattr("metaexp.cli.why.main", broken)
    with pytest.raises(FileNotFoundError):
        main(["why", "a", "b"])


@pytest.mark.parametrize("name", ["examples.xyz", "examples", "."])
def test_a_figure_that_cannot_be_drawn_is_refused_before_the_data_are_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "dataset=sinusoid", "--figure", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"metaexp data: --figure {name}")
    assert ".png" in captured.err


def test_a_figure_that_can_be_drawn_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "dataset=sinusoid", "--figure", "new/examples.svg"]) == 0
    assert "<svg" in (tmp_path / "new" / "examples.svg").read_text()


def test_a_read_only_place_is_named_and_not_a_name_of_ours_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(suffix: str | None, prefix: str, dir: Path) -> str:  # noqa: A002 - names of tempfile
        raise OSError(errno.EROFS, "Read-only file system", str(dir / f"{prefix}abc"))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    for command in (
        ["plan", "seed=0,1", f"hydra.sweep.dir={tmp_path}/a"],
        ["compare", str(OLD), "--output", f"{tmp_path}/b"],
    ):
        assert main(command) == 6
        assert f"{tmp_path} cannot be used: Read-only file system." in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("verb", ["plan", "train", "train -m", "search"])
def test_a_disk_that_takes_nothing_more_is_found_before_anything_starts(
    verb: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Path, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr("metaexp.run.job.set_up", lambda *_, **__: pytest.fail("the data were loaded"))
    words = ["algorithm=maml", "dataset=sinusoid", "train.steps=2", f"paths.outputs={tmp_path}/new"]
    more = {"train": [], "search": ["algorithm.inner_lr=interval(0.1,0.2)"]}.get(verb, ["seed=0,1"])
    assert main([*verb.split(), *words, *more]) == 6
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("metaexp ")]
    assert str(tmp_path) in line
    assert os.strerror(number) in line
    is_full = number in (errno.ENOSPC, errno.EDQUOT)
    assert (f"{os.strerror(number)} for 1 MB, which are needed at least. Free some space." in line) is is_full
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_too_little_room_for_checkpoints_is_found_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    words = ["train", "algorithm=maml", "dataset=sinusoid", "train.steps=1", f"paths.outputs={tmp_path}/new"]
    assert main([*words, "model.hidden=[600,600]"]) == 6
    expected = f"the disk is full at {tmp_path}: 2 MB are free, and checkpoints of this run take 4 MB at least."
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    check_room(tmp_path / "new", 2_000_000)


@pytest.mark.parametrize("command", [["why", str(OLD)], ["evaluate"], ["train", "from="]])
def test_a_file_in_place_of_a_run_folder_is_said_to_be_one(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    *words, last = command
    given = (
        [*words, f"{last}{tmp_path}/file", "train.steps=9"] if last.endswith("=") else [*command, f"{tmp_path}/file"]
    )
    assert main(given) == 4
    assert f"{tmp_path}/file is not a run folder: it is a file." in capsys.readouterr().err
