"""What messages tell people to install are packages of the package index, at the versions that setup.cfg declares."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from metaexp.core.extras import EXTRAS, install_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_installed_as_setup_cfg_declares_it(extra: str) -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    declared = setup["options.extras_require"][extra].split()
    assert shlex.split(install_command(extra)) == ["pip", "install", *declared]
    assert shlex.split(install_command(extra)) != ["pip", "install", *declared, "metaexp"]


def test_nothing_tells_people_to_install_metaexp_from_an_index() -> None:
    """It is not published there: pip would fetch a stranger's package of that name, if there is one."""
    advice = re.compile(r"install.*\bmetaexp(?:\[|['\"]?$)")
    assert advice.search("pip install 'metaexp[search]'")
    assert not advice.search("pip install -e '.[search]'")
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder, pattern in (("metaexp", "*.py"), ("conf", "*.yaml"), ("docs", "*.md"), ("examples", "*")):
        files += [path for path in (ROOT / folder).rglob(pattern) if path.is_file() and path.suffix != ".png"]
    own = ROOT / "metaexp" / "core" / "extras.py"
    found = [
        (path.name, line)
        for path in files
        if path != own and path.suffix in (".py", ".yaml", ".md")
        for line in path.read_text(encoding="utf-8").splitlines()
        if advice.search(line)
    ]
    assert found == []
