"""The project's own tools: the gate on coverage, and the comparison of numbers before and after a change."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sampling
from forking import run_main
from programs import load_program

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def gate() -> ModuleType:
    return load_program("scripts/coverage_gate.py")


@pytest.fixture(scope="module")
def numbers() -> ModuleType:
    return load_program("benchmarks/same_numbers.py")


def report(gate: ModuleType, low: str = "", share: float = 0.95) -> dict[str, Any]:
    """Coverage's report with 100 branches in each room."""
    names = {room: room if room.endswith(".py") else f"{room}file.py" for room in gate.ROOMS}
    return {
        "files": {
            name: {
                "summary": {"num_branches": 100, "covered_branches": round(100 * share) if room == low else 95},
                "missing_branches": [[3, 5]],
            }
            for room, name in names.items()
        }
    }


def test_enough_branches_pass_the_gate(gate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main(report(gate)) == 0
    assert capsys.readouterr().out.count("95.0 % of branches\n") == len(gate.ROOMS)


@pytest.mark.parametrize("number", range(5))
def test_one_room_with_too_few_branches_fails_the_gate(
    gate: ModuleType, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    room = gate.ROOMS[number]
    assert gate.main(report(gate, room, share=0.9)) == 0
    assert gate.main(report(gate, room, share=0.89)) == 1
    out = capsys.readouterr().out
    assert f"{room}: 89.0 % of branches, less than 90 %" in out
    assert "3->5" in out


def test_a_room_that_was_not_measured_fails_the_gate(gate: ModuleType) -> None:
    assert gate.main({"files": {}}) == 1


def test_the_gate_watches_what_there_is(gate: ModuleType) -> None:
    assert [room for room in gate.ROOMS if not (ROOT / room).exists()] == []


def pytest_calls(tmp_path: Path, *options: str) -> list[list[str]]:
    """The arguments of each call of pytest by ``scripts/coverage.sh``, with a program in the place of Python."""
    program = tmp_path / "python"
    said = '"exhaustive=${EXHAUSTIVE:-no}" "counted= $(echo ${COUNTED:-})"'
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" {said} "$@" END >> {tmp_path / "calls"}\n')
    program.chmod(0o755)
    (tmp_path / "calls").unlink(missing_ok=True)
    own = {name: value for name, value in os.environ.items() if name != "COUNTED"}
    subprocess.run([ROOT / "scripts" / "coverage.sh", program, *options], cwd=ROOT, env=own, check=True)
    calls = [call.splitlines() for call in (tmp_path / "calls").read_text().split("END\n")]
    return [call for call in calls if "pytest" in call]


def test_coverage_counts_files_that_are_there_and_with_all_runs_every_test_once(tmp_path: Path) -> None:
    (everything,) = pytest_calls(tmp_path, "--all")
    assert not any(word.startswith("tests") for word in everything)
    assert everything.count("-m") == 1, "python -m pytest; the slow tests, too"
    (alone,) = pytest_calls(tmp_path)
    counted = [word for word in alone if word.startswith("tests/")]
    assert len(counted) > 10
    assert [path for path in counted if not (ROOT / path).exists()] == []
    assert "not slow" in alone
    assert everything[1].split() == ["counted=", *counted]
    assert alone[1].split() == ["counted="]


def make_environment(tmp_path: Path, python3: str) -> subprocess.CompletedProcess[str]:
    """Let make make an environment in an empty folder, with a script in the place of Python, and without uv."""
    for file in ("Makefile", "scripts/environment.sh"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "bin").mkdir(exist_ok=True)
    for tool in ("sh", "ls", "rm", "make", "mkdir", "cat", "chmod"):
        if not (tmp_path / "bin" / tool).exists():
            (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    (tmp_path / "bin" / "python3").write_text(f'#!/bin/sh\n[ "$1" = -m ] || exit 0\nmkdir -p "$4/bin"\n{python3}\n')
    (tmp_path / "bin" / "python3").chmod(0o755)
    return subprocess.run(
        ["make", ".venv/bin/python"], cwd=tmp_path, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True
    )


WITH_PIP, WITHOUT_PIP = (
    f'printf "#!/bin/sh\\nexit {code}\\n" > "$4/bin/python"; chmod +x "$4/bin/python"' for code in (0, 1)
)


def test_an_environment_that_could_not_be_made_is_not_left_behind(tmp_path: Path) -> None:
    broken = make_environment(tmp_path, f"{WITHOUT_PIP}\nexit 1")
    assert broken.returncode != 0
    assert "no environment could be made in .venv; the lines above say why." in broken.stderr
    assert not (tmp_path / ".venv").exists()
    assert make_environment(tmp_path, WITH_PIP).returncode == 0
    assert (tmp_path / ".venv/bin/python").exists()


def test_an_environment_whose_pip_could_not_be_upgraded_is_used_and_said(tmp_path: Path) -> None:
    old = make_environment(tmp_path, f"{WITH_PIP}\nexit 1")
    assert old.returncode == 0
    assert "pip could not be upgraded (is there a network?); .venv has the pip that came with Python" in old.stderr
    assert (tmp_path / ".venv/bin/python").exists()


def test_files_of_the_user_are_never_removed_with_an_environment(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "mine").touch()
    assert make_environment(tmp_path, f"{WITHOUT_PIP}\nexit 1").returncode != 0
    assert (tmp_path / ".venv" / "mine").exists()
    assert not (tmp_path / ".venv/bin/python").exists()


def test_an_environment_without_pip_and_uv_is_said(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(str(shutil.which("false")))
    command = (
        f"PATH={shlex.quote(str(tmp_path))} {shutil.which('sh')} {ROOT / 'scripts/install.sh'} {tmp_path / 'python'}"
    )
    for tool in ("mktemp", "cat", "rm"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    said = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 1
    assert (
        "has no pip. If it is that of a .venv that was half made, remove the folder and run make again." in said.stderr
    )


@pytest.mark.parametrize(
    ("torch", "left"), [("pinned", {"torch", "torchvision"}), ("newest", set()), ("2.10.*", {"torch"})]
)
def test_another_torch_than_the_pinned_one_takes_the_torchvision_that_belongs_to_it(
    tmp_path: Path, torch: str, left: set[str]
) -> None:
    (tmp_path / "python").write_text(
        '#!/bin/sh\nwhile [ "$1" ]; do [ "$1" = -c ] && versions=$2; shift; done\n'
        '[ ! "$versions" ] || cat "$versions"\n'
    )
    (tmp_path / "python").chmod(0o755)
    command = [shutil.which("sh") or "sh", str(ROOT / "scripts/install.sh"), str(tmp_path / "python"), "timm"]
    environment = {**os.environ, "TORCH": torch}
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    pins = dict(line.split("==") for line in said.stdout.splitlines() if "==" in line)
    assert {"torch", "torchvision"} & pins.keys() == left
    assert pins.get("torch", torch) == (pins["torch"] if torch == "pinned" else torch)
    assert "timm" in pins


@pytest.mark.parametrize(
    ("counted", "nodeid", "done"),
    [
        (("tests/core", "tests/run/test_job.py"), "tests/data/test_a.py::test_b", ["stop", "test", "start"]),
        (("tests/core", "tests/run/test_job.py"), "tests/core/test_a.py::test_b", ["test"]),
        ((), "tests/data/test_a.py::test_b", ["test"]),
    ],
)
def test_branches_are_counted_in_some_tests_alone(
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
    counted: tuple[str, ...],
    nodeid: str,
    done: list[str],
) -> None:
    conftest: Any = pytestconfig.pluginmanager.getplugin(str(ROOT / "tests" / "conftest.py"))
    found: list[str] = []
    counting = SimpleNamespace(stop=lambda: found.append("stop"), start=lambda: found.append("start"))
    monkeypatch.setattr(conftest, "Coverage", SimpleNamespace(current=lambda: counting))
    monkeypatch.setattr(conftest, "COUNTED", counted)
    for _ in conftest.pytest_runtest_protocol(SimpleNamespace(nodeid=nodeid)):
        found.append("test")
    assert found == done


@pytest.mark.parametrize("asked", ["yes", "no"])
def test_every_case_of_large_sets_is_tested_where_it_is_asked_for_as_every_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("EXHAUSTIVE", asked)
    calls = pytest_calls(tmp_path, "--all")
    assert [call[0] for call in calls] == [f"exhaustive={asked}"] * len(calls)
    assert sampling.sample(range(100), 5, lambda _: [], exhaustive=True) == list(range(100))
    assert sampling.size(1, 2, exhaustive=True) == 2
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("test COVERAGE=yes")
    shown = subprocess.run(["make", "-n", "unit", "COVERAGE=yes"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert re.search(r"scripts/coverage\.sh \S+ --all", shown.stdout)
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert "EXHAUSTIVE: ${{ github.event_name == 'schedule' && 'yes' || 'no' }}" in workflow
    assert re.search(r'cron: "\d+ \d+ \* \* \*"', workflow)


def test_a_sample_is_always_the_same_and_has_every_kind() -> None:
    cases = [(kind, number) for kind in "abcdefgh" for number in range(100)]
    few = sampling.sample(cases, 20, lambda case: [case[0], case[1] % 3], exhaustive=False)
    assert few == sampling.sample(cases, 20, lambda case: [case[0], case[1] % 3], exhaustive=False)
    assert few == sorted(few)
    assert len(few) == len(set(few)) == 20
    assert {kind for kind, _ in few} == set("abcdefgh")
    assert {number % 3 for _, number in few} == {0, 1, 2}
    more = sampling.sample([*cases, ("i", 0)], 20, lambda case: [case[0], case[1] % 3], exhaustive=False)
    assert len(set(few) & set(more)) >= 19  # a new case takes no other's place but one
    assert len(sampling.sample(cases, 3, lambda case: [case], exhaustive=False)) == 800
    assert sampling.size(1, 2, exhaustive=False) == 1


def made(folder: Path, name: str = "maml") -> Path:
    """A run as far as the comparison reads it."""
    run = folder / name
    (run / "checkpoints").mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}\n')
    (run / "checkpoints" / "step_000000006.safetensors").write_bytes(b"weights")
    (run / "record.json").write_text(json.dumps({"config_hash": "a", "test": {"mean": 0.5}, "seconds": 3.0}))
    return run


def test_equal_runs_have_no_differences(numbers: ModuleType, tmp_path: Path) -> None:
    made(tmp_path / "before")
    after = made(tmp_path / "after")
    (after / "record.json").write_text(json.dumps({"config_hash": "a", "test": {"mean": 0.5}, "seconds": 9.0}))
    assert numbers.main(["compare", str(tmp_path / "before"), str(tmp_path / "after")]) == 0


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("metrics.jsonl", '{"step": 1, "train/loss": 0.50000001}\n', "maml: metrics.jsonl differs"),
        ("checkpoints/step_000000006.safetensors", "Weights", "maml: checkpoints/step_000000006.safetensors differs"),
        ("checkpoints/step_000000003.safetensors", "", "maml: checkpoints/step_000000003.safetensors differs"),
        ("record.json", '{"config_hash": "a", "test": {"mean": 0.6}}', "maml: record.json: test differs"),
        ("record.json", '{"config_hash": "b", "test": {"mean": 0.5}}', "maml: record.json: config_hash differs"),
    ],
)
def test_any_other_number_is_a_difference(
    numbers: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, line: str
) -> None:
    made(tmp_path / "before")
    (made(tmp_path / "after") / file).write_text(content)
    assert numbers.main(["compare", str(tmp_path / "before"), str(tmp_path / "after")]) == 1
    assert capsys.readouterr().out.splitlines() == [line]


def test_runs_that_are_missing_are_differences(numbers: ModuleType, tmp_path: Path) -> None:
    made(tmp_path / "before")
    (tmp_path / "empty").mkdir()
    assert numbers.unequal_files(tmp_path / "before", tmp_path / "empty") == [
        f"maml: no such run in {tmp_path / 'empty'}"
    ]
    assert numbers.unequal_files(tmp_path / "empty", tmp_path / "before") == [f"{tmp_path / 'empty'} holds no runs"]


def test_every_algorithm_is_among_the_runs(numbers: ModuleType) -> None:
    algorithms = {path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml")}
    assert algorithms <= numbers.runs().keys()
    experiments = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    assert set(numbers.EXPERIMENTS) <= experiments


def test_runs_are_made_by_the_checkout_that_the_program_is_in(
    numbers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be called from the folder of another checkout."""
    (tmp_path / "metaexp.py").touch()
    monkeypatch.chdir(tmp_path)
    found: list[str] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> SimpleNamespace:
        places = "import importlib.util, metaexp; print(metaexp.__file__, importlib.util.find_spec('metaexp.conf'))"
        begin = numbers.START.partition("from")[0]
        found.append(subprocess.check_output([*command[:3], begin + places], env=env, text=True).strip())
        return SimpleNamespace(returncode=0, stdout="")

    monkeypatch.setattr(numbers, "subprocess", SimpleNamespace(run=run, PIPE=None, STDOUT=None))
    assert numbers.main(["make", str(tmp_path / "before"), "maml"]) == 0
    assert found == [f"{ROOT / 'metaexp' / '__init__.py'} None"]  # then conf is that beside the package


def test_a_run_made_twice_has_the_same_numbers(
    numbers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run in a process of its own, which is forked from this one."""

    def fork(command: list[str], **_: object) -> SimpleNamespace:
        assert command[:4] == [sys.executable, "-P", "-c", numbers.START]
        ended = run_main(command[4:], tmp_path)
        return SimpleNamespace(returncode=ended.code, stdout=ended.output)

    monkeypatch.setattr(numbers, "subprocess", SimpleNamespace(run=fork, PIPE=None, STDOUT=None))
    for folder in ("before", "after"):
        assert numbers.main(["make", str(tmp_path / folder), "nearest_neighbour"]) == 0
    assert numbers.main(["compare", str(tmp_path / "before"), str(tmp_path / "after")]) == 0
