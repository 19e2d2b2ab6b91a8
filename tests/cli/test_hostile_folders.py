"""Damaged and hostile run folders, some of each kind, given to every verb: nothing gets in, hangs or lies.

All of them: ``python tests/support/hostile/hostile_folders.py``; what came of it is on docs/reliability.md.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sampling import size

CASES = size(3, 8)
SEED = 3


@pytest.fixture
def hostile_folders(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The fuzzer; afterwards the process trusts no class, has its own environment, and is where it was."""
    monkeypatch.setattr("metaexp.config.classes.targets._trusted", set())
    for name in ("HOSTILE_OUTSIDE", "HOSTILE_SECRET"):
        monkeypatch.setenv(name, "")
    return importlib.import_module("hostile_folders")


@pytest.mark.timeout(600)
def test_hostile_folders_get_nothing_from_any_verb(hostile_folders: ModuleType, tmp_path: Path) -> None:
    here = Path.cwd()
    found = hostile_folders.fuzz(tmp_path, CASES, SEED, seconds=60.0)
    assert found["faults"] == []
    assert found["cases"] == CASES
    assert found["calls"] == CASES * len(hostile_folders.VERBS)
    assert Path.cwd() == here


def test_the_cases_are_always_the_same_and_of_every_kind(hostile_folders: ModuleType) -> None:
    damage = importlib.import_module("hostile_damage")
    plan = damage.planned(300, 0)
    assert plan == damage.planned(300, 0)
    assert plan != damage.planned(300, 1)
    assert len(plan) == 300
    assert {item.kind for item in plan} == set(damage.catalogue())


def read(outside: Path) -> None:
    (outside / "victim").read_text()


def read_through_a_link(outside: Path) -> None:
    link = outside.parent / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(outside / "victim")
    with link.open() as file:
        file.read()


def read_below_python(outside: Path) -> None:
    os.system(f"cat {outside}/victim > /dev/null")


def append(outside: Path) -> None:
    with (outside / "victim").open("a") as file:
        file.write("more")


def make(outside: Path) -> None:
    os.system(f"touch {outside}/made")


def remove(outside: Path) -> None:
    (outside / "victim").unlink()


def keep_times(outside: Path) -> None:
    state = (outside / "victim").stat()
    (outside / "victim").write_text("other!")
    os.utime(outside / "victim", ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    "deed", [read, read_through_a_link, read_below_python, append, make, remove, keep_times], ids=lambda f: f.__name__
)
def test_the_watch_notices_what_a_call_does_outside(tmp_path: Path, deed: Callable[[Path], None]) -> None:
    watching = importlib.import_module("hostile_watch")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("secret")
    watch = watching.Watch(outside)
    with watch.record_faults() as nothing:
        (tmp_path / "other").write_text("fine")
    assert nothing == []
    with watch.record_faults() as faults:
        deed(outside)
    assert faults


def test_a_call_that_never_ends_is_ended() -> None:
    watching = importlib.import_module("hostile_watch")
    with pytest.raises(watching.Hang), watching.limit_time(0.05):
        all(True for _ in itertools.count())


def test_faults_of_every_kind_are_noticed(
    hostile_folders: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage = importlib.import_module("hostile_damage")
    with hostile_folders.open_field(tmp_path, 60.0, ["evaluate"]) as ground:
        said = hostile_folders.Answer(0, "fine", [0.5])
        sound = damage.Damage("none", "completed", "completed", damage.nothing)

        def of(deed: Callable[[Path], object]) -> list[str]:
            monkeypatch.setitem(hostile_folders.VERBS, "evaluate", deed)
            return [fault.partition(":")[0] for fault in ground.attempt(sound, "evaluate", 0)]

        assert of(lambda run: said._replace(numbers=ground.expected["completed", "evaluate"])) == []
        assert of(lambda run: said) == ["number"]
        assert of(lambda run: 1 / 0) == ["traceback"]
        assert of(lambda run: said._replace(text="\x1b[2J", numbers=[])) == ["escape"]
        assert of(lambda run: said._replace(text=hostile_folders.SECRET, numbers=[])) == ["outside"]
        assert "outside" in of(lambda run: said._replace(numbers=[Path("outside/victim").write_text("owned")]))
        ground.seconds = 0.05
        assert of(lambda run: all(True for _ in itertools.count())) == ["hang"]


def test_a_damage_that_root_could_read_through_is_felt(tmp_path: Path) -> None:
    watching = importlib.import_module("hostile_watch")
    path = tmp_path / "closed"
    path.write_text("x")
    path.chmod(0)
    with watching.drop_rights_of_root(), pytest.raises(PermissionError):
        path.read_text()
    if os.geteuid() == 0:
        assert path.read_text() == "x"
