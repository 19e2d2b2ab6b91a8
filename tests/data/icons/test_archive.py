"""Where the archive of icon sets is, and how it comes there."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_icons import pack

from metaexp.core.errors import ConfigError, DataError
from metaexp.data.icons import archive
from metaexp.data.icons.archive import find_archive, read_sets, registry


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """paths.data without an archive, and a registry that does not answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def server(published: Path, tmp_path: Path) -> Iterator[str]:
    """A registry with the tiny archive."""
    place = tmp_path / "site" / "@iconify" / "json" / "-"
    place.mkdir(parents=True)
    shutil.copy(published / "icons" / "iconify.tgz", place / archive.FILE)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "site"))  # type: ignore[arg-type]

    site = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{site.server_port}/"
    site.shutdown()
    site.server_close()


@pytest.mark.parametrize("place", ["icons/any-name.tgz", "any-name.tgz"])
def test_a_file_that_was_fetched_already_is_taken_under_any_name(published: Path, nowhere: Path, place: str) -> None:
    target = nowhere / place
    target.parent.mkdir(exist_ok=True)
    shutil.copy(published / "icons" / "iconify.tgz", target)
    assert find_archive(nowhere, print) == target


def test_another_version_is_named_and_not_taken(published: Path, nowhere: Path) -> None:
    other = pack(nowhere, {"designer-0": {"icons": {}}}, "json-1.0.0.tgz")
    lines: list[str] = []
    with pytest.raises(DataError, match="could not be fetched"):
        find_archive(nowhere, lines.append)
    assert lines[0].startswith(f"{other} is not version 2.2.535 of @iconify/json (SHA-512 ")


def test_it_is_fetched_from_the_registry_that_npm_uses(
    server: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", server)
    lines: list[str] = []
    path = find_archive(nowhere, lines.append)
    assert path == nowhere / "icons" / archive.FILE
    assert lines[1].startswith(f"Fetching {server}@iconify/json/-/{archive.FILE} (")
    assert find_archive(nowhere, print) == path


def test_it_is_fetched_beside_a_damaged_file_of_its_name(
    server: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", server)
    (nowhere / "icons").mkdir()
    (nowhere / "icons" / archive.FILE).write_bytes(b"half")
    path = find_archive(nowhere, print)
    assert path.parent == nowhere / "icons"
    assert path.stat().st_size == archive._BYTES
    assert (nowhere / "icons" / archive.FILE).read_bytes() == b"half"


def test_without_network_the_message_says_what_to_put_where(nowhere: Path) -> None:
    with pytest.raises(DataError) as error:
        find_archive(nowhere, print)
    for part in ("could not be fetched", "npm pack @iconify/json@2.2.535", str(nowhere / "icons"), "METAEXP_DATA"):
        assert part in str(error.value)


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program there is; it does nothing yet. The environment names no registry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # the user may have the icons already
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "npm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_the_registry_is_that_of_npm_on_this_machine(npm: Path) -> None:
    npm.write_text('#!/bin/sh\n[ "$*" = "config get registry" ] && echo https://example.org/npm/\n')
    assert registry() == "https://example.org/npm"
    npm.write_text("#!/bin/sh\necho undefined\n")
    with pytest.raises(ConfigError, match="npm's setting registry must be an address that begins with https://"):
        registry()


@pytest.mark.parametrize("is_there", [True, False])
def test_without_an_npm_that_tells_it_is_said_what_to_do(npm: Path, tmp_path: Path, is_there: bool) -> None:
    if is_there:
        npm.write_text("#!/bin/sh\nexit 1\n")
    else:
        npm.unlink()
    wanted = "did not answer" if is_there else "is not installed"
    with pytest.raises(DataError, match=f"npm, which knows where its packages are, {wanted}") as error:
        find_archive(tmp_path / "data", print)
    for part in ("npm pack @iconify/json@2.2.535", "set npm_config_registry to the address of a registry"):
        assert part in str(error.value)


def test_the_environment_names_the_registry_as_for_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://example.org/npm/")
    assert registry() == "https://example.org/npm"
    for wrong in ("ftp://example.org", "https://name:secret@example.org", "example.org"):
        monkeypatch.setenv("npm_config_registry", wrong)
        with pytest.raises(
            ConfigError, match="npm_config_registry must be an address that begins with https://"
        ) as error:
            registry()
        assert "secret" not in str(error.value)


def test_a_set_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path, {"whole": {"icons": {}}, "list": [1], "other": {"info": {}}})
    assert read_sets(path, ["whole"]) == {"whole": {"icons": {}}}
    with pytest.raises(DataError, match="lacks 1 of 2 icon sets; the first is absent"):
        read_sets(path, ["whole", "absent"])
    for name in ("list", "other"):
        with pytest.raises(DataError, match=f"package/json/{name}.json is not an icon set"):
            read_sets(path, [name])
    assert json.dumps(read_sets(path, [])) == "{}"
