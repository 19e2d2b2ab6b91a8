"""What is shipped: every package and every data file, in an editable install and in a wheel."""

from __future__ import annotations

import configparser
import fnmatch
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from metaexp.results.record import read_record

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("metaexp", "conf", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
TINY = [
    "model=mlp",
    "model.hidden=[8]",
    "dataset.train_classes=8",
    "dataset.val_classes=5",
    "dataset.test_classes=5",
    "dataset.per_class=6",
    "train.steps=2",
    "train.meta_batch_size=2",
    "train.eval_episodes=4",
    "eval.episodes=4",
    "device=cpu",
]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def data_files(folder: Path) -> set[str]:
    """Files below ``folder`` that are not Python's."""
    kept = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in kept if path.suffix not in (".py", ".pyc")}


def test_every_data_file_matches_a_shipped_pattern(setup: configparser.ConfigParser) -> None:
    places = {"metaexp.conf": ROOT / "conf"}
    for path in (ROOT / "metaexp").rglob("__init__.py"):
        places[".".join(path.parent.relative_to(ROOT).parts)] = path.parent
    shipped = set()
    for package, patterns in setup["options.package_data"].items():
        for name in data_files(places[package]):
            if any(fnmatch.fnmatch(name, pattern.strip()) for pattern in patterns.replace("\n", ",").split(",")):
                shipped.add(places[package] / name)
    existing = {root / name for root in (ROOT / "metaexp", ROOT / "conf") for name in data_files(root)}
    assert existing - shipped == set()
    assert len(shipped) > 50


def pinned() -> list[tuple[str, str]]:
    """Name and version of each line of constraints.txt."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return [(name, version) for line in lines for name, version in [line.lower().replace("_", "-").split("==")]]


def disagreements(pins: dict[str, str], learned: dict[str, list[str]]) -> list[str]:
    """The requirements of packages that pinned versions of other packages do not satisfy."""
    return [
        f"{name} needs {requirement}"
        for name, lines in learned.items()
        for requirement in map(Requirement, lines)
        if requirement.marker is None or requirement.marker.evaluate()
        if not requirement.specifier.contains(
            pins.get(requirement.name.lower().replace("_", "-"), ""), prereleases=True
        )
        if requirement.name.lower().replace("_", "-") in pins
    ]


def test_pinned_versions_can_be_installed_together() -> None:
    """As far as packages are here at their pinned version; torchvision often is not, and each fits one torch."""
    pins = dict(pinned())
    learned: dict[str, list[str]] = {}
    for name, pin in pins.items():
        try:
            if version(name).partition("+")[0] == pin:
                learned[name] = requires(name) or []
        except PackageNotFoundError:
            continue
    assert len(learned) > 20
    assert disagreements(pins, learned) == []
    assert disagreements({**pins, "omegaconf": "1.0"}, learned) != []
    torch, vision = (list(map(int, pins[name].split("."))) for name in ("torch", "torchvision"))
    assert (torch[0], vision[0], vision[1]) == (2, 0, torch[1] + 15), "torchvision 0.(N + 15) belongs to torch 2.N"


def test_every_requirement_has_one_pinned_version_that_satisfies_it(setup: configparser.ConfigParser) -> None:
    pins = dict(pinned())
    assert len(pins) == len(pinned())
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins.values()), "a local version, such as +cpu"
    wanted = "\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()])
    for requirement in map(Requirement, wanted.split()):
        assert requirement.name.lower() in pins, requirement
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_hydra_and_omegaconf_stay_below_their_next_versions(setup: configparser.ConfigParser) -> None:
    """Launcher plugins ask for development versions; without a bound pip takes pre-releases."""
    found = {r.name: r for r in map(Requirement, setup["options"]["install_requires"].split("\n")[1:])}
    assert not found["hydra-core"].specifier.contains("1.4.0.dev1", prereleases=True)
    assert not found["omegaconf"].specifier.contains("2.4.0.dev1", prereleases=True)
    assert found["torch"].specifier.contains("2.10.0")


def test_no_module_is_kept_out_of_the_repository_by_an_ignore_rule() -> None:
    """A pattern such as ``data/`` would swallow ``metaexp/data``."""
    paths = [path.relative_to(ROOT).as_posix() for root in ("metaexp", "conf") for path in (ROOT / root).rglob("*.*")]
    paths = [path for path in paths if "__pycache__" not in path]
    command = ["git", "-C", str(ROOT), "check-ignore", "--no-index", "--stdin"]
    ignored = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True)
    if ignored.returncode not in (0, 1):
        pytest.skip("not in a git repository")
    assert ignored.stdout == ""


def files_of(root: Path) -> set[str]:
    """Files of the package and of the configuration below ``root``, by their names in a wheel."""
    package = {f"metaexp/{path.relative_to(root / 'metaexp')}" for path in (root / "metaexp").rglob("*.*")}
    conf = {f"metaexp/conf/{path.relative_to(root / 'conf')}" for path in (root / "conf").rglob("*.*")}
    return {name for name in package | conf if "__pycache__" not in name}


def _here() -> list[str]:
    """The option to build in this environment, and not in a new one, if it has what the build needs."""
    needed = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
    try:
        has_all = all(need.specifier.contains(version(need.name)) for need in needed)
    except PackageNotFoundError:
        has_all = False
    return ["--no-build-isolation"] if has_all else []


def build_wheel(folder: Path) -> Path:
    """Build a wheel in ``folder`` from a copy of the sources with one more package, ``metaexp.added.inner``."""
    source = folder / "source"
    source.mkdir()
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    for added in (source / "metaexp" / "added", source / "metaexp" / "added" / "inner"):
        added.mkdir()
        (added / "__init__.py").touch()
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *_here(), "-w", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_a_wheel_holds_every_file_and_trains_from_another_folder(tmp_path: Path) -> None:
    """Installed without dependencies into a new environment, and run where the sources are not.

    The dependencies are those of this environment, lent by a path file. An editable metaexp here does not come with
    them, because path files of path files are not read.
    """
    wheel = build_wheel(tmp_path)
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == files_of(ROOT) | {"metaexp/added/__init__.py", "metaexp/added/inner/__init__.py"}

    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--quiet",
    ]
    subprocess.run([*install, str(wheel)], check=True)
    Path(packages, "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = [python, "-c", "import metaexp; print(metaexp.__file__)"]
    assert subprocess.run(where, cwd=elsewhere, check=True, capture_output=True, text=True).stdout.startswith(packages)
    command = [tmp_path / "env" / "bin" / "metaexp", "train", *TINY]
    subprocess.run(command, cwd=elsewhere, check=True, capture_output=True)
    (record,) = elsewhere.rglob("record.json")
    assert read_record(record.parent).status == "completed"


def test_a_checkout_that_was_never_installed_finds_its_configuration(tmp_path: Path) -> None:
    """``python -S`` has no site-packages, so no editable install; the dependencies come by the path."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from metaexp.config.compose import Composer\n"
        "from metaexp.config.loader import conf_folder\n"
        "print(conf_folder()); print(Composer().settings([]).choices['algorithm'])"
    )
    command = [sys.executable, "-S", "-c", code, str(ROOT), sysconfig.get_path("purelib")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(ROOT / "conf"), "maml"], done.stderr
