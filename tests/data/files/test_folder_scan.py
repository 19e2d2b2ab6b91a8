import os
from pathlib import Path

import pytest

from metaexp.core.errors import DataError
from metaexp.data.files.archives import open_source
from metaexp.data.files.folder_scan import scan_folder


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "1.png").write_bytes(b"one")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "2.png").write_bytes(b"two")
    return tmp_path / "root"


def test_links_to_what_is_inside_are_followed(root):
    (root / "b").symlink_to("a")
    (root / "c.png").symlink_to(root / "a" / "1.png")
    assert list(scan_folder(root).files) == ["a/1.png", "b/1.png", "c.png"]
    with open_source(root) as source:
        assert source.read("b/1.png", 10) == b"one"


@pytest.mark.parametrize("target", ["outside", "outside/2.png"])
def test_links_that_lead_outside_are_followed_only_with_follow_links(root, target):
    (root / "b.png").symlink_to(root.parent / target)
    with pytest.raises(DataError, match=r"b.png is a link to .*outside.*Set dataset.follow_links=true"):
        scan_folder(root)
    assert len(scan_folder(root, follow_links=True).files) == 2


def test_the_folder_itself_may_be_a_link(root):
    link = root.parent / "link"
    link.symlink_to(root)
    assert list(scan_folder(link).files) == ["a/1.png"]


@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_links_to_nothing_are_refused(root, target):
    (root / "loop").symlink_to(target)
    with pytest.raises(DataError, match="loop is a link to .*, which cannot be read. Remove it"):
        scan_folder(root)


def test_a_folder_that_links_to_one_above_it_is_refused(root):
    (root / "a" / "up").symlink_to(root)
    with pytest.raises(DataError, match="a/up leads back to a folder that it is in"):
        scan_folder(root)


def test_a_folder_that_cannot_be_read_is_refused_by_name(root, monkeypatch):
    scandir = os.scandir

    def refusing(path: Path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match="The folder .*a cannot be read: Permission denied. Give read permission"):
        scan_folder(root)


def test_fifos_are_counted_and_never_opened(root):
    os.mkfifo(root / "a" / "2.png")
    assert scan_folder(root) == ({"a/1.png": root / "a" / "1.png"}, {"special file (FIFO, socket or device)": 1})
    with pytest.raises(DataError, match="is a FIFO, a socket or a device. Give a regular file or a folder"):
        open_source(root / "a" / "2.png")
