import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metaexp.core.errors import DataError
from metaexp.data.files.download import Remote, UnreachableError, download

CONTENT = bytes(range(256)) * 8000


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/absent.zip":
            self.send_error(404)
            return
        if self.path == "/unnamed_page.zip":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\n<!DOCTYPE html><title>Log in</title>")
            return
        self.send_response(200)
        if self.path == "/page.zip":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if self.path != "/unannounced.zip":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut.zip" else CONTENT)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def remote(url: str, content: bytes = CONTENT, most: int = 10_000_000) -> Remote:
    return Remote(url, hashlib.md5(content, usedforsecurity=False).hexdigest(), most)


def test_a_file_comes_whole_with_progress(tmp_path, site):
    lines: list[str] = []
    download(remote(f"{site}/whole.zip"), tmp_path / "new" / "whole.zip", lines.append)
    assert (tmp_path / "new" / "whole.zip").read_bytes() == CONTENT
    assert lines[:2] == ["Connecting to 127.0.0.1.", f"Fetching {site}/whole.zip (2.0 MB)."]
    assert lines[-1] == "  whole.zip: 100 %"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [".whole.zip.lock", "whole.zip"]


def test_a_file_of_unannounced_length_comes_whole_too(tmp_path, site):
    download(remote(f"{site}/unannounced.zip"), tmp_path / "x.zip", print)
    assert (tmp_path / "x.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.zip", "could not be fetched: Not Found"),
        ("page.zip", "sent a web page in place of the file, as networks with a login page"),
        ("unnamed_page.zip", "sent a web page in place of the file, as networks with a login page"),
    ],
)
def test_what_does_not_come_at_all_leaves_no_file_behind(tmp_path, site, path, message):
    with pytest.raises(UnreachableError, match=message):
        download(remote(f"{site}/{path}"), tmp_path / "x.zip", print)
    assert [p.name for p in tmp_path.iterdir()] == [".x.zip.lock"]


def test_half_a_file_is_kept_under_another_name(tmp_path, site):
    with pytest.raises(UnreachableError, match=r"broke off after 1024000 of 2048000 bytes|could not be fetched"):
        download(remote(f"{site}/cut.zip"), tmp_path / "x.zip", print)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.zip.lock", ".x.zip.part"]


@pytest.mark.parametrize("first", ["absent.zip", "page.zip", "cut.zip", "unnamed_page.zip"])
def test_a_mirror_is_asked_when_the_first_address_does_not_deliver(tmp_path, site, first):
    lines: list[str] = []
    download(remote(f"{site}/{first}")._replace(mirrors=(f"{site}/whole.zip",)), tmp_path / "x.zip", lines.append)
    assert (tmp_path / "x.zip").read_bytes() == CONTENT
    assert any(line.endswith("Asking another address.") for line in lines)


def test_a_mirror_with_another_file_is_not_believed(tmp_path, site):
    wanted = remote(f"{site}/absent.zip", content=b"other")._replace(mirrors=(f"{site}/whole.zip",))
    with pytest.raises(DataError, match=r"absent.zip could not be fetched: Not Found.*whole.zip sent a file with MD5"):
        download(wanted, tmp_path / "x.zip", print)
    assert not (tmp_path / "x.zip").exists()


def test_every_address_that_failed_is_named(tmp_path, site):
    wanted = remote(f"{site}/absent.zip")._replace(mirrors=(f"{site}/page.zip",))
    with pytest.raises(UnreachableError, match=r"absent.zip could not be fetched.*page.zip sent a web page"):
        download(wanted, tmp_path / "x.zip", print)


def test_the_best_published_digest_decides(tmp_path, site):
    wanted = Remote(f"{site}/whole.zip", "0" * 32, 10_000_000, sha256=hashlib.sha256(CONTENT).hexdigest())
    download(wanted, tmp_path / "x.zip", print)
    assert (tmp_path / "x.zip").read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"sent a file with SHA-256 .*; the published file has 0000"):
        download(wanted._replace(sha256="0" * 64), tmp_path / "y.zip", print)


def test_another_file_than_the_published_one_is_refused(tmp_path, site):
    with pytest.raises(DataError, match=r"sent a file with MD5 .*; the published file has"):
        download(remote(f"{site}/whole.zip", content=b"other"), tmp_path / "x.zip", print)
    assert [p.name for p in tmp_path.iterdir()] == [".x.zip.lock"]


def test_a_file_that_does_not_end_is_cut_off(tmp_path, site):
    with pytest.raises(DataError, match="sends more than 1000000 bytes"):
        download(remote(f"{site}/whole.zip", most=1_000_000), tmp_path / "x.zip", print)
    assert [p.name for p in tmp_path.iterdir()] == [".x.zip.lock"]


def test_no_server_is_an_error_that_says_so(tmp_path):
    with pytest.raises(UnreachableError, match=r"http://127.0.0.1:1/x.zip could not be fetched"):
        download(remote("http://127.0.0.1:1/x.zip"), tmp_path / "x.zip", print)


def test_only_web_addresses_are_fetched(tmp_path):
    with pytest.raises(DataError, match="only http and https addresses are fetched"):
        download(remote("file:///etc/hostname"), tmp_path / "x.zip", print)
    with pytest.raises(DataError, match="only http and https addresses are fetched"):
        download(remote("http://127.0.0.1:1/x")._replace(mirrors=("file:///etc/hostname",)), tmp_path / "x.zip", print)


def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path, site):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"^{tmp_path}/file/x.zip cannot be written: (File exists|Not a directory).$"):
        download(remote(f"{site}/whole.zip"), tmp_path / "file" / "x.zip", print)


class Resuming(BaseHTTPRequestHandler):
    """Breaks off at half of the first answer, and goes on where a request asks to. ``asked`` has the ranges."""

    asked: list[str | None] = []
    ranges = True
    whole = CONTENT

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        begun = int((self.headers["Range"] or "bytes=0-")[6:-1]) if self.ranges else 0
        if begun >= len(self.whole):
            self.send_error(416)
            return
        rest = self.whole[begun:]
        self.send_response(206 if begun else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if len(self.asked) == 1 else rest)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def breaking() -> Iterator[tuple[str, type[Resuming]]]:
    class Handler(Resuming):
        asked: list[str | None] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/file.tgz", Handler
    server.shutdown()
    server.server_close()


def pinned(url: str, content: bytes = CONTENT) -> Remote:
    return Remote(url, "", 10_000_000, hashlib.sha512(content).hexdigest())


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on_where_it_ended(tmp_path, breaking, ranges):
    url, handler = breaking
    handler.ranges = ranges
    target, lines = tmp_path / "file.tgz", []
    with pytest.raises(UnreachableError, match=r"The first 1.0 MB are kept; the same command goes on from there\.$"):
        download(pinned(url), target, lines.append)
    assert not target.exists()
    download(pinned(url), target, lines.append)
    assert target.read_bytes() == CONTENT
    assert handler.asked == [None, "bytes=1024000-"]
    assert (f"Fetching {url} (2.0 MB, 1.0 MB of it are here)." in lines) == ranges
    assert sorted(p.name for p in tmp_path.iterdir()) == [".file.tgz.lock", "file.tgz"]


def test_a_part_that_is_whole_already_is_checked_and_taken(tmp_path, breaking):
    url, _ = breaking
    (tmp_path / ".file.tgz.part").write_bytes(CONTENT)
    download(pinned(url), tmp_path / "file.tgz", print)
    assert (tmp_path / "file.tgz").read_bytes() == CONTENT


def test_a_part_of_another_file_is_refused_and_thrown_away(tmp_path, breaking):
    url, handler = breaking
    handler.asked.append(None)  # this server does not break off
    (tmp_path / ".file.tgz.part").write_bytes(b"other" * 1000)
    with pytest.raises(DataError, match=r"sent a file with SHA-512 .*; the published file has"):
        download(pinned(url), tmp_path / "file.tgz", print)
    assert [p.name for p in tmp_path.iterdir()] == [".file.tgz.lock"]
    download(pinned(url), tmp_path / "file.tgz", print)
    assert (tmp_path / "file.tgz").read_bytes() == CONTENT


def test_processes_that_want_one_file_fetch_it_once(tmp_path, breaking):
    url, handler = breaking
    handler.asked.append(None)
    threads = [threading.Thread(target=download, args=(pinned(url), tmp_path / "file.tgz", print)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file.tgz").read_bytes() == CONTENT
    assert len(handler.asked) == 2
