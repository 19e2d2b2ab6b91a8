import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
from changed_caches import change

from metaexp.core.disk.user_cache import user_cache
from metaexp.data.cache.place import cache_folder
from metaexp.data.cache.prepared import Prepared, cached, checksum_of


class Build:
    """Counts how often it was asked, and gives other examples each time."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Prepared:
        self.times += 1
        examples = torch.arange(24, dtype=torch.uint8).view(4, 1, 2, 3) + self.times
        return Prepared(examples, {"z": 1, "a": 3}, f"digest {self.times}")


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def only_file(folder: Path) -> Path:
    [file] = (path for path in folder.iterdir() if not path.is_dir())
    return file


def test_the_second_load_comes_from_the_file_and_is_the_same(data):
    build, lines = Build(), []
    first = cached("tiny", {"size": 3}, data, build, lines.append)
    second = cached("tiny", {"size": 3}, data, build, lines.append)
    assert build.times == 1
    assert torch.equal(first.examples, second.examples)
    assert list(second.classes.items()) == [("z", 1), ("a", 3)]
    assert second.digest == "digest 1"
    assert lines == [f"Kept the prepared tiny in {only_file(data / 'cache')}."]


def test_float_examples_are_kept_too(data):
    def build() -> Prepared:
        return Prepared(torch.tensor([[0.5, -1.0]]), {"a": 1}, "d")

    cached("floats", {}, data, build, print)
    assert torch.equal(cached("floats", {}, data, Build(), print).examples, torch.tensor([[0.5, -1.0]]))


def test_another_key_is_another_file(data):
    build = Build()
    cached("tiny", {"size": 3}, data, build, print)
    cached("tiny", {"size": 4}, data, build, print)
    assert build.times == 2
    assert len(list((data / "cache").iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "swapped"])
def test_a_damaged_file_is_built_again(data, damage):
    build, lines = Build(), []
    cached("tiny", {"size": 3}, data, build, print)
    file = only_file(data / "cache")
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-5])
    elif damage == "changed":
        content[-3] ^= 1
        file.write_bytes(content)
    elif damage == "emptied":
        file.write_bytes(b"")
    else:
        cached("tiny", {"size": 99}, data, build, print)
        [other] = set((data / "cache").iterdir()) - {file}
        other.replace(file)
    again = cached("tiny", {"size": 3}, data, build, lines.append)
    assert again.digest == f"digest {build.times}"
    assert f"The cache {file} is damaged; building it again." in lines
    before = build.times
    cached("tiny", {"size": 3}, data, build, print)
    assert build.times == before


def test_data_without_write_permission_is_left_alone_and_the_users_cache_is_taken(data, tmp_path):
    data.chmod(0o555)
    cached("tiny", {}, data, Build(), print)
    assert list(data.iterdir()) == []
    assert only_file(tmp_path / "home" / "metaexp").suffix == ".safetensors"
    data.chmod(0o755)
    assert cache_folder(data) == data / "cache"


def test_a_folder_that_is_not_there_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_folder(tmp_path / "absent") == tmp_path / "home" / "metaexp"
    assert not (tmp_path / "absent").exists()


def test_without_a_writable_cache_data_are_built_each_time_with_a_message(data, tmp_path):
    (tmp_path / "home").mkdir(mode=0o555)
    (tmp_path / "home" / "metaexp").mkdir(mode=0o555)
    data.chmod(0o555)
    build, lines = Build(), []
    cached("tiny", {}, data, build, lines.append)
    cached("tiny", {}, data, build, lines.append)
    assert build.times == 2
    home = tmp_path / "home" / "metaexp"
    assert lines[0].startswith(f"Warning: tiny is prepared again each time: no folder for it can be written ({data}: ")
    assert f"; {home}: " in lines[0]
    assert lines[0].endswith(". Set XDG_CACHE_HOME to a folder that can be.")


@pytest.mark.parametrize(
    ("obstacle", "reason"), [("file", "Not a directory"), ("loop", "Too many levels of symbolic links")]
)
def test_the_reason_why_no_cache_folder_can_be_written_is_named(tmp_path, monkeypatch, obstacle, reason):
    home, lines = tmp_path / "home", []
    home.write_text("") if obstacle == "file" else home.symlink_to(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    cached("tiny", {}, tmp_path / "absent", Build(), lines.append)
    assert f"({tmp_path / 'absent'}: there is no such folder; {home / 'metaexp'}: {reason})" in lines[0]


@pytest.mark.parametrize("missing", ["", "cache", "a/b/cache"])
def test_a_home_that_may_not_be_written_is_the_reason_also_where_the_cache_folder_is_missing(
    tmp_path, monkeypatch, missing
):
    home, lines = tmp_path / "home", []
    home.mkdir()
    cache = home / missing
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("metaexp.data.cache.place._made", lambda _: None)
    touch = Path.touch

    def refuse(path, *args, **kwargs):
        if path.parent == home:
            raise PermissionError(13, "Permission denied")
        touch(path, *args, **kwargs)

    monkeypatch.setattr(Path, "touch", refuse)
    cached("tiny", {}, tmp_path / "absent", Build(), lines.append)
    assert f"({tmp_path / 'absent'}: there is no such folder; {cache / 'metaexp'}: Permission denied)" in lines[0]


def test_a_full_disk_costs_the_cache_and_not_the_data(data, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaexp.data.cache.prepared.save_file", full)
    lines: list[str] = []
    assert cached("tiny", {}, data, Build(), lines.append).digest == "digest 1"
    assert lines[0].startswith("Warning: the prepared tiny could not be kept in ")
    assert "No space left on device" in lines[0]
    assert list((data / "cache").iterdir()) == []


def test_two_that_write_at_once_leave_one_whole_file(data):
    threads = [threading.Thread(target=cached, args=("tiny", {}, data, Build(), print)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    build = Build()
    cached("tiny", {}, data, build, print)
    assert build.times == 0
    assert len(list((data / "cache").iterdir())) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_the_users_cache_is_where_the_system_keeps_it_unless_xdg_cache_home_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_cache() == tmp_path / ".cache" / "metaexp"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert user_cache() == tmp_path / "elsewhere" / "metaexp"


def test_changed_examples_with_a_checksum_that_fits_them_are_refused_where_the_right_one_is_known(data):
    build, lines = Build(), []
    right = checksum_of(Build()().examples)
    cached("tiny", {}, data, build, print, right)
    change(only_file(data / "cache"))
    build.times = 0
    assert torch.equal(cached("tiny", {}, data, build, lines.append, right).examples, Build()().examples)
    assert "is damaged; building it again" in lines[0]
    before = build.times
    cached("tiny", {}, data, build, print, right)
    assert build.times == before


@pytest.mark.parametrize("classes", ["[" * 100_000, "[]", '{"z": 1}', '{"z": -1, "a": 5}', '{"z": "4"}', "null"])
def test_a_cache_with_impossible_classes_is_built_again(data, classes):
    build, lines = Build(), []
    cached("tiny", {}, data, build, print)
    change(only_file(data / "cache"), classes=classes)
    assert cached("tiny", {}, data, build, lines.append).classes == {"z": 1, "a": 3}
    assert "is damaged; building it again" in lines[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"more": 0, "shape": (4, 1, 3, 2)},
        {"more": 0, "classes": '{"a": 3, "z": 1}'},
        {"more": 0, "digest": "another"},
    ],
    ids=["examples", "shape", "classes", "digest"],
)
def test_a_change_whose_checksum_was_repaired_is_seen_by_the_receipt_in_the_users_cache(data, changes):
    build, lines = Build(), []
    first = cached("tiny", {}, data, build, print)
    change(only_file(data / "cache"), **changes)
    again = cached("tiny", {}, data, build, lines.append)
    assert build.times == 2
    assert "is damaged; building it again" in lines[0]
    assert again.examples.shape == first.examples.shape
    cached("tiny", {}, data, build, print)
    assert build.times == 2


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_cache_that_came_with_the_data_is_built_once_more_and_then_taken(data, tmp_path, is_changed):
    build, lines = Build(), []
    cached("tiny", {}, data, build, print)
    shutil.rmtree(tmp_path / "home" / "metaexp" / "receipts")
    if is_changed:
        change(only_file(data / "cache"))
    assert cached("tiny", {}, data, build, lines.append).digest == "digest 2"
    assert "was not prepared by this user" in lines[0]
    cached("tiny", {}, data, build, print)
    assert build.times == 2


@pytest.mark.parametrize("receipt", [b"", b"\xff", b"x" * 20_000])
def test_a_damaged_receipt_costs_one_more_build_at_most(data, tmp_path, receipt):
    build = Build()
    cached("tiny", {}, data, build, print)
    only_file(tmp_path / "home" / "metaexp" / "receipts").write_bytes(receipt)
    for _ in range(3):
        cached("tiny", {}, data, build, print)
    assert build.times <= 2


def test_a_home_that_cannot_be_written_costs_a_preparation_each_time_and_is_said(data, tmp_path):
    (tmp_path / "home").write_text("a file where the cache folder would be")
    build, lines = Build(), []
    for _ in range(2):
        cached("tiny", {}, data, build, lines.append)
    assert build.times == 2
    assert "cannot be written (Not a directory), so these data are prepared again each time" in "\n".join(lines)


@pytest.mark.parametrize(("shape", "times"), [((1, 2, 3), 1), ((1, 3, 2), 2)])
def test_examples_of_another_shape_than_the_preparation_gives_are_refused(data, shape, times):
    build = Build()
    for _ in range(2):
        cached("tiny", {}, data, build, print, shape=shape)
    assert build.times == times


def test_a_fifo_in_place_of_a_cache_is_not_opened(data):
    build = Build()
    cached("tiny", {}, data, build, print)
    file = only_file(data / "cache")
    file.unlink()
    os.mkfifo(file)
    assert cached("tiny", {}, data, build, print).digest == "digest 2"
    assert file.is_file()


def test_changed_examples_are_refused_where_the_digest_is_that_of_the_examples(data):
    examples = Build()().examples
    build = Build()
    prepared = Prepared(examples, {"z": 1, "a": 3}, checksum_of(examples))
    for _ in range(2):
        cached("tiny", {}, data, lambda: (build(), prepared)[1], print, digest_of=lambda x, _: checksum_of(x))
        assert build.times == 1
    change(only_file(data / "cache"))
    again = cached("tiny", {}, data, lambda: (build(), prepared)[1], print, digest_of=lambda x, _: checksum_of(x))
    assert torch.equal(again.examples, examples)
    assert build.times == 2
