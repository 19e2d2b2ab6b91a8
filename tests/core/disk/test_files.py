"""Nothing in a stranger's folder leads elsewhere or holds a reader up."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from metaexp.core.disk.files import (
    append_regular,
    encode_text,
    make_folder,
    open_regular,
    open_tensors,
    read_regular,
    refuse_links,
    write_atomically,
)
from metaexp.core.errors import ExitCode, RunFolderError


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent.parent / "not there yet")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as made:  # a socket's path has few letters
        made.bind(f"{short}/s")
        Path(short, "s").rename(path)


KINDS: dict[str, Callable[[Path], None]] = {
    "symbolic link": link, "broken symbolic link": dangling, "FIFO": fifo, "socket": listening, "folder": Path.mkdir,
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run folder beside a file of the user."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opened", [open_regular, append_regular, read_regular])
def test_only_a_regular_file_is_opened(place: Path, kind: str, opened: Callable[[Path], object]) -> None:
    KINDS[kind](place / "run.log")
    with pytest.raises(RunFolderError, match=rf"run\.log is a {kind.removeprefix('broken ')}, and a regular file"):
        opened(place / "run.log")
    assert (place.parent / "victim").read_text() == "precious"
    assert not (place.parent / "not there yet").exists()


def test_a_regular_file_is_opened(place: Path) -> None:
    with append_regular(place / "run.log") as file:
        file.write(b"one")
    with append_regular(place / "run.log") as file:
        file.write(b" two")
    assert read_regular(place / "run.log") == b"one two"
    with open_regular(place / "run.log") as file:
        assert file.read(3) == b"one"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO])
def test_a_file_that_the_user_may_not_read_is_named(place: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (place / "record.json").write_text("{}")

    def denied(path: Path, *_: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", denied)
    for opened in (open_regular, read_regular):
        with pytest.raises(RunFolderError, match=rf"record\.json cannot be read: {os.strerror(number)}\. Make it"):
            opened(place / "record.json")
    with pytest.raises(OSError, match=os.strerror(number)):
        append_regular(place / "record.json")


def test_text_that_is_not_utf_8_is_escaped_so_that_it_can_be_read_again() -> None:
    name = os.fsdecode(b"a\xffb")
    written = encode_text(json.dumps({"folder": name, "plain": "ä"}, ensure_ascii=False))
    assert json.loads(written) == {"folder": name, "plain": "ä"}
    assert b"\\udcff" in written
    with pytest.raises(UnicodeEncodeError):
        name.encode()


def test_a_missing_file_is_missing_and_not_a_link(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(place / "run.log")


def test_a_file_is_read_up_to_its_limit_only(place: Path) -> None:
    (place / "record.json").write_bytes(b"12345")
    assert read_regular(place / "record.json", most=5) == b"12345"
    with pytest.raises(RunFolderError, match=r"record\.json has 5 bytes; at most 4 are read"):
        read_regular(place / "record.json", most=4)


def test_writing_replaces_a_link_and_follows_none(place: Path) -> None:
    (place / "record.json").symlink_to(place.parent / "victim")
    (place / f".record.json.{os.getpid()}.tmp").symlink_to(place.parent / "victim")
    write_atomically(place / "record.json", b"new")
    assert not (place / "record.json").is_symlink()
    assert (place / "record.json").read_bytes() == b"new"
    assert (place.parent / "victim").read_text() == "precious"


def test_a_folder_is_made_once_and_never_through_a_link(place: Path) -> None:
    make_folder(place / "plots")
    make_folder(place / "plots")
    (place / "checkpoints").symlink_to(place.parent)
    with pytest.raises(RunFolderError, match="checkpoints is a symbolic link"):
        make_folder(place / "checkpoints")
    (place / "evaluations").write_text("")
    with pytest.raises(RunFolderError, match="evaluations is a file, and a folder belongs there"):
        make_folder(place / "evaluations")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
@pytest.mark.parametrize("where", ["run.log", "checkpoints/deep/best.json", "wandb"])
def test_a_link_anywhere_in_a_run_folder_is_found(place: Path, kind: str, where: str) -> None:
    (place / where).parent.mkdir(parents=True, exist_ok=True)
    refuse_links(place)
    KINDS[kind](place / where)
    with pytest.raises(RunFolderError, match=f"{where} is a") as refused:
        refuse_links(place)
    assert refused.value.exit_code == ExitCode.RUN_FOLDER


@pytest.mark.parametrize("where", ["wandb", "tensorboard", "wandb/run/files"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_links_of_other_programs_may_not_lead_outside(place: Path, kind: str, where: str) -> None:
    (place / where).mkdir(parents=True)
    (place / where / "inside").symlink_to(place / "config.yaml")
    refuse_links(place)
    KINDS[kind](place / where / "debug.log")
    if kind.endswith("link"):
        (place / where / "debug.log").unlink()
        (place / where / "debug.log").symlink_to(place.parent / "victim")
    with pytest.raises(RunFolderError, match=r"debug\.log is a"):
        refuse_links(place)


@pytest.mark.parametrize("moved", [False, True])
def test_links_of_other_programs_to_the_folder_before_it_was_copied_are_theirs(place: Path, moved: bool) -> None:
    """The client of W&B wrote whole paths. What they lead to must be in the copy, and must not be a link itself."""
    (place / "wandb" / "logs").mkdir(parents=True)
    (place / "wandb" / "core.log").write_text("log")
    (place / "wandb" / "logs" / "debug.log").symlink_to(place / "wandb" / "core.log")
    copy = place.parent / "elsewhere"
    if moved:
        place.rename(copy)
    else:
        shutil.copytree(place, copy, symlinks=True)
    refuse_links(copy)
    (copy / "wandb" / "core.log").unlink()
    with pytest.raises(RunFolderError, match=r"debug\.log is a symbolic link"):
        refuse_links(copy)
    (copy / "wandb" / "core.log").symlink_to("/etc/passwd")
    with pytest.raises(RunFolderError, match=r"\.log is a symbolic link"):
        refuse_links(copy)


def test_links_of_other_programs_in_their_own_folder_stay_theirs(place: Path) -> None:
    (place / "wandb").mkdir()
    (place / "wandb" / "latest-run").symlink_to(place)
    refuse_links(place)
    (place.parent / "linked").symlink_to(place)
    refuse_links(place.parent / "linked")


def test_a_large_file_of_weights_must_be_as_long_as_its_header_says(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [100_000_000], "data_offsets": [0, 400_000_000]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 400_000_000)
    with open_tensors(path) as file:
        assert file.tell() == 0
    for size in (400_000_000, 1 << 40):
        os.truncate(path, size)
        with pytest.raises(RunFolderError, match=f"has {size} bytes, and is not a file of weights of that length"):
            open_tensors(path)
    for start in (
        b"",
        (1 << 60).to_bytes(8, "little"),
        (4).to_bytes(8, "little") + b"[[[[",
        b"\x02" + bytes(7) + b"{}",
    ):
        path.write_bytes(start)
        os.truncate(path, 400_000_000)
        with pytest.raises(RunFolderError, match="not a file of weights"):
            open_tensors(path)


def test_what_is_appended_does_not_appear_under_other_names_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"first\n")
    os.link(tmp_path / "original", tmp_path / "copy")
    with append_regular(tmp_path / "copy") as file:
        assert file.tell() == 6
        file.write(b"second\n")
    assert (tmp_path / "copy").read_bytes() == b"first\nsecond\n"
    assert (tmp_path / "original").read_bytes() == b"first\n"
    inode = (tmp_path / "original").stat().st_ino
    with append_regular(tmp_path / "original") as file:
        file.write(b"third\n")
    assert (tmp_path / "original").stat().st_ino == inode  # a file with one name stays the same file
