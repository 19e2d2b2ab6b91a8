"""A module of somebody else's that fails when it is imported: the line and the cause, not a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaexp.cli.main import main
from metaexp.core import own_imports
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.own_imports import import_own, require_returned

ALGORITHM = """
from metaexp.algorithms.proto_net import ProtoNet
class Mine(ProtoNet):
    \"\"\"One's own.\"\"\"
def measure(scores, y):
    return scores.mean()
class Items(list):
    \"\"\"A dataset.\"\"\"
"""
CAUSES = {
    "import broken_library": (
        r"own_lab/parts\.py, line 3, calls .*broken_library\.py, line 2, raises RuntimeError: the driver is too old\. "
        r"Correct it; `python -c 'import own_lab\.parts'` shows the whole traceback"
    ),
    "import no_such_library.inner": (
        r"own_lab/parts\.py, line 3, raises ModuleNotFoundError: No module named 'no_such_library'\. "
        "Install no_such_library, or correct the line"
    ),
    "from own_lab.wrong import x": r"own_lab/wrong\.py, line 1, raises SyntaxError",
    "from .missing import a": (
        r"own_lab/parts\.py, line 3, raises ModuleNotFoundError: No module named 'own_lab\.missing'\. "
        "The package own_lab is there, and has no module missing. Correct the line"
    ),
    "import importlib; importlib.import_module('own_lab.a.b')": (
        r"own_lab/parts\.py, line 3, raises ModuleNotFoundError: No module named 'own_lab\.a'"
    ),
    "raise GeneratorExit": r"own_lab/parts\.py, line 3, raises GeneratorExit\. Correct it",
    "1 / 0": r"own_lab/parts\.py, line 3, raises ZeroDivisionError: division by zero\. Correct it",
    "raise KeyError": r"own_lab/parts\.py, line 3, raises KeyError\. Correct it",
    "import sys; sys.exit('usage: parts')": r"line 3, raises SystemExit: usage: parts\. Code that ends the process",
}


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``own_lab``, and a library that raises."""
    (tmp_path / "own_lab").mkdir()
    (tmp_path / "own_lab" / "__init__.py").touch()
    (tmp_path / "own_lab" / "wrong.py").write_text("x = = 1\n")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "broken_library.py").write_text("\nraise RuntimeError('the driver is too old')\n")
    monkeypatch.setattr(own_imports, "_LIBRARIES", (*own_imports._LIBRARIES, str(tmp_path / "library")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "library"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "own_lab"
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_lab"]:
        del sys.modules[name]


def write(lab: Path, line: str) -> None:
    (lab / "parts.py").write_text(f"\n\n{line}\n{ALGORITHM}")


@pytest.mark.parametrize("line", CAUSES)
def test_the_line_and_the_cause_are_named(lab: Path, line: str) -> None:
    write(lab, line)
    with pytest.raises(ConfigError, match=rf"^own_lab\.parts cannot be imported: .*{CAUSES[line]}"):
        import_own("own_lab.parts")
    write(lab, "pass")
    assert import_own("own_lab.parts").Mine.__name__ == "Mine"


def test_errors_of_metaexp_and_failures_of_metaexp_itself_stay_what_they_are(lab: Path) -> None:
    write(lab, "from metaexp.core.errors import DataError; raise DataError('no data')")
    with pytest.raises(DataError, match=r"^no data$"):
        import_own("own_lab.parts")
    write(lab, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_own("own_lab.parts")
    with pytest.raises(ModuleNotFoundError):
        import_own("metaexp.no_such_room")


SMALL = ["dataset=glyphs", "train.steps=0", "eval.episodes=4", "device=cpu", "tracker=files", "model=mlp"]
SLOTS = {
    "algorithm": ["algorithm=proto_net", "algorithm._target_=own_lab.parts.Mine"],
    "a metric": ["algorithm=proto_net", "eval.metrics=[own_lab.parts.measure]"],
    "a dataset of torch": ["algorithm=proto_net", "dataset=torch", "dataset.target=own_lab.parts.Items"],
}


@pytest.mark.parametrize("slot", SLOTS)
def test_a_run_with_such_a_part_says_it_and_ends(lab: Path, capsys: pytest.CaptureFixture[str], slot: str) -> None:
    write(lab, "import broken_library")
    given = [line for line in SMALL if line.partition("=")[0] not in {word.partition("=")[0] for word in SLOTS[slot]}]
    assert main(["train", *given, *SLOTS[slot], "--trust", "own_lab"]) == 2
    shown = capsys.readouterr().err
    assert "own_lab.parts cannot be imported: " in shown
    assert "raises RuntimeError: the driver is too old." in shown
    assert "made-up tasks" not in shown
    assert "dataset.arguments" not in shown
    assert "Traceback" not in shown


WRONG = {
    b"def f(:\n": "parts.py, line 1, is not Python: invalid syntax. Correct it.",
    b"if 1:\n\tx = 1\n        y = 2\n": "parts.py, line 3, is not Python: inconsistent use of tabs and spaces",
    b"x = '\xff'\n": "parts.py is not text in UTF-8, see byte 5. Save it as UTF-8.",
}


@pytest.mark.parametrize("content", WRONG)
@pytest.mark.parametrize("slot", [*SLOTS, "a base"])
def test_a_file_that_is_not_python_is_not_said_to_be_missing(
    lab: Path, capsys: pytest.CaptureFixture[str], slot: str, content: bytes
) -> None:
    (lab / "parts.py").write_bytes(content)
    (lab / "derived.py").write_text("from own_lab.parts import Mine as Base\nclass Mine(Base): ...\n")
    changes = SLOTS.get(slot, ["algorithm=proto_net", "algorithm._target_=own_lab.derived.Mine"])
    given = [line for line in SMALL if line.partition("=")[0] not in {word.partition("=")[0] for word in changes}]
    assert main(["train", *given, *changes, "--trust", "own_lab"]) == 2
    assert WRONG[content] in capsys.readouterr().err
    (lab / "parts.py").unlink()
    assert main(["train", *given, *changes, "--trust", "own_lab"]) == 2
    assert WRONG[content] not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "said"),
    [(None, "nothing"), (3, "an object of the class int"), (dict, "the class dict itself"), ([1], None)],
)
def test_what_a_method_returned_has_the_type_that_it_must_have(found: object, said: str | None) -> None:
    if said is None:
        assert require_returned(found, list, "load of Mine") is found
        return
    with pytest.raises(ConfigError, match=f"^load of Mine returns {said}; it must return a builtins.list.$"):
        require_returned(found, list, "load of Mine")
