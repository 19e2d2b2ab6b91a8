"""A class that is not there is refused with where its package was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config.classes import targets
from metaexp.core.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trusted package with one module."""
    folder = tmp_path / "my_methods"
    (folder / "nets").mkdir(parents=True)
    (folder / "centroids.py").write_text("class Centroids: ...\n")
    (folder / "nets" / "wide.py").write_text("class Wide: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    targets.trust("my_methods")
    return folder


@pytest.mark.parametrize("find", [targets.find_named, targets.find_function])
@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("my_methods.centroid.Centroids", " Did you mean my_methods.centroids?"),
        ("my_methods.wide.Wide", " Did you mean my_methods.nets.wide?"),
        ("my_methods.zzzzzzzzzz.Thing", ""),
    ],
)
def test_the_folder_of_the_package_is_named_and_the_module_that_is_alike(
    package: Path, find: object, path: str, meant: str
) -> None:
    assert callable(find)
    module = path.rpartition(".")[0]
    with pytest.raises(ConfigError) as refused:
        find("model", path)
    assert str(refused.value) == f"model: there is no module {module}. The package my_methods is {package}.{meant}"


def test_a_package_that_is_one_file_is_said_to_be_one(package: Path) -> None:
    file = package.with_name("my_file.py")
    file.write_text("class Thing: ...\n")
    targets.trust("my_file")
    with pytest.raises(ConfigError, match=rf"The package my_file is the file {file}\."):
        targets.find_named("model", "my_file.inner.Thing")
