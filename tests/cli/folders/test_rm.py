"""``metaexp rm``: what goes and what is refused. Nothing outside the folder, nothing of the user's, nothing in use."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import hostile_watch
import pytest
from folders_of_runs import a_record, write_run

from metaexp.cli.main import main
from metaexp.core.disk.locks import hold_lock
from metaexp.core.errors import MachineError, RunFolderError
from metaexp.folders.find import Found
from metaexp.folders.remove import check_removable, remove
from metaexp.search.files import study_file


def files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_run_a_sweep_and_a_search_are_listed_and_removed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["outputs/first", "outputs/sweeps/seeds", "outputs/searches/rates"]
    assert main(["rm", "--yes", *wanted, "outputs/first"]) == 0
    out = capsys.readouterr().out
    assert "1 run, 1 sweep, 1 search, " in out
    assert [line.partition("removed: ")[2] for line in out.splitlines() if "removed: " in line] == wanted
    assert sorted(path.name for path in outputs.iterdir()) == ["searches", "second", "sweeps"]
    assert list((outputs / "sweeps").iterdir()) == []


def test_without_a_terminal_nothing_goes_unless_yes_is_given(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(outputs)
    assert main(["rm", "outputs/first"]) == 2
    said = capsys.readouterr()
    assert "outputs/first\n1 run, " in said.out
    assert said.err == "metaexp rm: add --yes to remove what is listed above; there is no terminal to ask on.\n"
    assert files(outputs) == before


@pytest.mark.parametrize(
    ("answer", "is_gone"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_on_a_terminal_it_asks(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, is_gone: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["rm", "outputs/first"]) == 0
    out = capsys.readouterr().out
    assert "remove these? [y/N] " in out
    assert (outputs / "first").exists() is not is_gone
    assert ("nothing was removed" in out) is not is_gone


def a_link(outputs: Path) -> str:
    (outputs / "link").symlink_to("first")
    return "outputs/link"


def a_plain_folder(outputs: Path) -> str:
    return "outputs"


def no_folder(outputs: Path) -> str:
    return "outputs/nothing"


def a_file(outputs: Path) -> str:
    return "outputs/first/record.json"


def a_job(outputs: Path) -> str:
    return "outputs/sweeps/seeds/000-maml-glyphs-seed0"


def a_trial(outputs: Path) -> str:
    return "outputs/searches/rates/000-maml-glyphs-seed0"


def with_a_file_of_the_user(outputs: Path) -> str:
    (outputs / "first" / "notes.txt").write_text("mine")
    return "outputs/first"


def with_a_file_of_the_user_in_a_job(outputs: Path) -> str:
    (outputs / "sweeps" / "seeds" / "000-maml-glyphs-seed0" / "notes.txt").write_text("mine")
    return "outputs/sweeps/seeds"


def with_predictions_of_the_user(outputs: Path) -> str:
    (outputs / "first" / "predictions").mkdir()
    return "outputs/first"


def a_home_with_a_record(outputs: Path) -> str:
    (outputs / "record.json").write_text("{}")
    return "outputs"


def a_home_with_a_whole_record(outputs: Path) -> str:
    shutil.copy(outputs / "first" / "record.json", outputs)
    return "outputs"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (a_link, "outputs/link is a link, and links are not followed. Give the folder itself."),
        (a_plain_folder, "is not the folder of a run, a sweep or a search, so it is not removed. `metaexp ls outputs`"),
        (no_folder, "outputs/nothing is not there. Give the folder of a run."),
        (a_file, "outputs/first/record.json is a file."),
        (a_job, "is a job of outputs/sweeps/seeds, which would be damaged without it. Remove the whole: metaexp rm"),
        (a_trial, "is a trial of outputs/searches/rates, which"),
        (
            with_a_file_of_the_user,
            "what metaexp does not write there: outputs/first/notes.txt. Move it elsewhere",
        ),
        (with_predictions_of_the_user, "what metaexp does not write there: outputs/first/predictions."),
        (with_a_file_of_the_user_in_a_job, "seed0/notes.txt. Move it elsewhere first; nothing was removed."),
        (a_home_with_a_record, "schema_version is None"),
        (a_home_with_a_whole_record, "outputs/first, outputs/searches, outputs/second, outputs/sweeps. Move it"),
    ],
)
def test_what_is_refused_stays_as_it_is(
    outputs: Path, capsys: pytest.CaptureFixture[str], made: Callable[[Path], str], message: str
) -> None:
    path = made(outputs)
    before = files(outputs)
    assert main(["rm", "--yes", "outputs/second", path]) == 4  # the good one stays, too
    assert message in capsys.readouterr().err
    assert files(outputs) == before


@pytest.mark.parametrize(("whole", "is_gone"), [(True, True), (False, False)])
def test_a_run_with_a_damaged_record_can_be_removed_where_its_configuration_tells_that_it_is_one(
    outputs: Path, capsys: pytest.CaptureFixture[str], whole: bool, is_gone: bool
) -> None:
    run = outputs / "first"
    (run / "record.json").write_text("{")
    for name in ("config.yaml", "choices.yaml"):
        (run / name).write_text("{}")
    if not whole:
        (run / "choices.yaml").unlink()
    assert main(["rm", "--yes", str(run)]) == (0 if is_gone else 4)
    assert run.exists() is not is_gone
    assert ("record.json cannot be read as JSON" in capsys.readouterr().err) is not is_gone


@pytest.mark.parametrize(
    ("path", "lock"),
    [
        ("first", "first/.lock"),
        ("sweeps/seeds", "sweeps/seeds/001-maml-glyphs-seed1/.claim"),
        ("sweeps/seeds", "sweeps/seeds/.locks/command-7"),
        ("searches/rates", "searches/rates/.locks/trial-0"),
    ],
)
def test_what_a_process_works_on_is_refused(
    outputs: Path, capsys: pytest.CaptureFixture[str], path: str, lock: str
) -> None:
    (outputs / lock).parent.mkdir(exist_ok=True)
    with hold_lock(outputs / lock):
        before = files(outputs)
        assert main(["rm", "--yes", f"outputs/{path}"]) == 4
        assert "is in use by a running process" in capsys.readouterr().err
        assert files(outputs) == before
    assert main(["rm", "--yes", f"outputs/{path}"]) == 0


def test_a_process_that_begins_in_between_keeps_its_folder(outputs: Path) -> None:
    found = check_removable(outputs / "first")
    with hold_lock(outputs / "first" / ".lock"), pytest.raises(RunFolderError, match="in use"):
        remove(found)
    assert (outputs / "first" / "record.json").exists()
    remove(found)
    assert list(outputs.glob(".*")) == []


def test_a_link_in_a_folder_goes_and_what_it_leads_to_stays(outputs: Path) -> None:
    precious = outputs / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (outputs / "first" / "plots").symlink_to(precious.absolute())
    (outputs / "first" / "code").symlink_to((precious / "file").absolute())
    (outputs / "first" / ".lock").symlink_to((precious / "file").absolute())
    assert main(["rm", "--yes", "outputs/first"]) == 0
    assert (precious / "file").read_text() == "mine"
    assert not (outputs / "first").exists()


def test_a_folder_that_may_not_be_changed_is_refused_as_a_whole(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = outputs / "first" / "checkpoints"
    for path in (outputs, outputs / "first"):
        path.chmod(0o777)
    inner.chmod(0o555)
    with hostile_watch.drop_rights_of_root():
        assert main(["rm", "--yes", "outputs/first"]) == 4
    assert "checkpoints may not be changed by you. Make it writable; nothing was removed." in capsys.readouterr().err
    assert (inner / "best.safetensors").exists()


def test_what_cannot_be_removed_after_all_is_said_and_is_still_there(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path / "record.json"))

    monkeypatch.setattr("metaexp.folders.remove.shutil.rmtree", fail)
    with pytest.raises(MachineError, match="not removed as a whole: Input/output error .*The rest is still there"):
        remove(Found(outputs / "first", "run"))
    assert (outputs / "first" / "record.json").exists()
    with pytest.raises(MachineError, match="cannot be removed: No such file"):
        remove(Found(outputs / "nothing", "run"))


def test_a_search_whose_study_is_a_database_can_be_removed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = outputs / "searches" / "rates"
    file = study_file(place, "sqlite")
    file.touch()
    (place / f"{file.name}-journal").touch()  # of a process that was killed
    (place / "study.txt").touch()
    assert main(["rm", "--yes", str(place)]) == 4
    assert "does not write there: outputs/searches/rates/study.txt. Move" in capsys.readouterr().err
    (place / "study.txt").unlink()
    assert main(["rm", "--yes", str(place)]) == 0


def test_a_run_that_was_killed_while_it_wrote_can_be_removed(outputs: Path) -> None:
    run = write_run(outputs / "killed", a_record("running", test=None))
    (run / ".record.json.4711.tmp").write_text("{")
    (run / "record.json").unlink()
    (run / "config.yaml").write_text("seed: 0\n")
    assert main(["rm", "--yes", str(run)]) == 0
