"""Run folders: claimed once, held by one process."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.core.errors import RunFolderError
from metaexp.run import run_log
from metaexp.run.folder import RunFolder, create_folder, existing
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

HOLD = """
import sys
from pathlib import Path
from metaexp.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    paths = [create_folder(tmp_path / "new" / "outputs", "run").path.name for _ in range(3)]
    assert paths == ["run", "run_2", "run_3"]


def test_no_two_claims_get_the_same_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: create_folder(tmp_path, "run").path, range(40)))
    assert len(set(paths)) == 40


def test_two_processes_never_hold_one_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=f"is in use by process {other.pid}"), folder.lock():
            pass
        other.kill()
    with folder.lock():  # the system let go of it
        pass


def test_a_folder_can_be_held_again_after_it_was_let_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.lock():
        pass
    with folder.lock(), pytest.raises(RunFolderError, match="is in use"), folder.lock():
        pass


def test_what_is_not_a_run_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no such folder"):
        existing(tmp_path / "missing")
    with pytest.raises(RunFolderError, match=r"it has no config\.yaml"):
        existing(tmp_path)


def test_settings_come_back_from_the_folder_as_they_were(tiny: ModuleType, tmp_path: Path) -> None:
    settings = tiny.settings(tmp_path, seed=0, algorithm__inner_lr=1e-5)
    folder = RunFolder(tmp_path)
    folder.save_settings(settings)
    assert folder.load_settings() == settings
    assert folder.load_settings() != tiny.settings(tmp_path, seed=1, algorithm__inner_lr=1e-5)


@pytest.mark.parametrize("name", ["config.yaml", "choices.yaml"])
def test_settings_that_cannot_be_read_are_named(tiny: ModuleType, tmp_path: Path, name: str) -> None:
    folder = RunFolder(tmp_path)
    folder.save_settings(tiny.settings(tmp_path))
    folder.load_settings()
    path = tmp_path / name
    for content, reason in (("a: [1", "cannot be read"), ("- a\n", "cannot be read: it has no keys")):
        path.write_text(content)
        with pytest.raises(RunFolderError, match=rf"{name} {reason}"):
            folder.load_settings()
    path.unlink()
    with pytest.raises(RunFolderError, match=rf"{name} cannot be read: .*No such file"):
        folder.load_settings()
    path.symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(RunFolderError, match=rf"{name} is a symbolic link"):
        folder.load_settings()


class Broken(io.RawIOBase):
    """A file on a disk that does not answer."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(5, "Input/output error")


def test_a_run_whose_log_cannot_be_written_says_so_once_and_goes_on(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_log, "append_regular", lambda _: io.BufferedWriter(Broken()))
    shown = io.StringIO()
    done = run_job(tiny.settings(tmp_path), display=Lines(Console(file=shown, width=500)))
    assert done.record.status == "completed"
    assert shown.getvalue().count(f"{done.folder}/run.log cannot be written (Input/output error)") == 1
    assert "Traceback" not in capsys.readouterr().err
