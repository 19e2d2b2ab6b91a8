"""The habits of the project, checked: sizes, and that its pages, forms and tools say the same."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import pkgutil
import re
import subprocess
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
import yaml

import metaexp

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 300
"""At most so many lines in a file of the package."""
MOST_FUNCTION_LINES = 50
"""At most so many lines in a function, without its docstring."""
MANY_ARGUMENTS = 2
"""Functions of so many arguments list them in their docstring."""
MOST_BYTES = 7_000_000
"""At most so many bytes in a file of the repository: everybody who clones it fetches all of them.

Reptile's 10,000 test episodes after each of 50 inner steps have 6.3 MB, and 0.1 MB compressed.
"""
MAKE_TARGETS = re.compile(r"^([a-z0-9]+):", re.MULTILINE)


def sources(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)


def long_files(package: Path) -> list[str]:
    """Files of the package with too many lines."""
    counts = {path: len(path.read_text("utf-8").splitlines()) for path in sources(package)}
    return [f"{path.relative_to(package)}: {count}" for path, count in counts.items() if count > MOST_LINES]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring; explaining more is never too long."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def long_functions(package: Path) -> list[str]:
    """Functions of the package with too many lines."""
    found = []
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and length(node) > MOST_FUNCTION_LINES:
                found.append(f"{path.relative_to(package)}: {node.name}")
    return found


def test_no_file_of_the_package_is_too_long(tmp_path: Path) -> None:
    assert long_files(ROOT / "metaexp") == []
    (tmp_path / "short.py").write_text("x = 1\n" * MOST_LINES)
    (tmp_path / "long.py").write_text("x = 1\n" * (MOST_LINES + 1))
    assert long_files(tmp_path) == ["long.py: 301"]


def test_no_function_of_the_package_is_too_long(tmp_path: Path) -> None:
    assert long_functions(ROOT / "metaexp") == []
    body = "    x = 1\n" * (MOST_FUNCTION_LINES - 1)
    (tmp_path / "one.py").write_text(
        f'def right():\n    """Two\n    lines."""\n{body}\n\ndef wrong():\n    y = 1\n{body}'
    )
    assert long_functions(tmp_path) == ["one.py: wrong"]


def large_files(root: Path) -> list[str]:
    """Files that git has, or would take with ``git add``, with too many bytes."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout
    paths = [root / name for name in listed.split("\0") if name]
    return sorted(str(path.relative_to(root)) for path in paths if path.is_file() and path.stat().st_size > MOST_BYTES)


def test_no_file_of_the_repository_is_too_large(tmp_path: Path) -> None:
    assert large_files(ROOT) == []
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "small.bin").write_bytes(bytes(MOST_BYTES))
    (tmp_path / "large one.bin").write_bytes(bytes(MOST_BYTES + 1))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "prepared.safetensors").write_bytes(bytes(MOST_BYTES + 1))
    assert large_files(tmp_path) == ["cache/prepared.safetensors", "large one.bin"]
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    assert large_files(tmp_path) == ["large one.bin"]


def links(root: Path) -> list[str]:
    """Symbolic links that git has. A checkout puts a link in the place of a folder, and deletes the folder."""
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [line.partition("\t")[2] for line in listed.splitlines() if line.startswith("120000")]


def test_a_link_to_an_environment_or_to_data_is_never_committed(tmp_path: Path) -> None:
    assert links(ROOT) == []
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for name in (".venv", "data", "cache", "wandb", "other"):
        (tmp_path / name).symlink_to("elsewhere")
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    assert links(tmp_path) == ["other"]


def test_the_installed_package_is_typed() -> None:
    assert (ROOT / "metaexp" / "py.typed").read_bytes() == b""


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == metaexp.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()


def unclear_versions(changelog: str) -> list[str]:
    """Versions of a changelog that do not say what happened to the numbers."""
    versions = re.split(r"^## ", changelog.partition("\n## Version policy")[0], flags=re.MULTILINE)[1:]
    return [text.splitlines()[0] for text in versions if "\n### Numbers\n" not in text]


def test_each_version_in_the_changelog_says_what_happened_to_the_numbers() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert unclear_versions(changelog) == []
    assert f"\n## {metaexp.__version__}\n" in changelog
    assert "\n## Version policy\n" in changelog
    assert unclear_versions("## 9.0.0\n\n### Added\n\n* Speed.\n\n## 8.0.0\n\n### Numbers\n\n* Same.\n") == ["9.0.0"]


def test_contributing_names_only_what_there_is() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(MAKE_TARGETS.findall((ROOT / "Makefile").read_text()))
    named = {word for line in re.findall(r"make ((?:[a-z0-9]+ ?)+)", page) for word in line.split()}
    assert {"test", "lint", "types", "imports", "coverage", "busy"} <= named & targets
    paths = re.findall(r"(?:metaexp|conf|tests|docs|benchmarks)/[\w/.-]*\w", page)
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []


def rooms_in_table(page: str) -> set[str]:
    """Rooms that the first column of a table names."""
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_contributing_lists_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / "metaexp").glob("*/__init__.py")}
    assert rooms_in_table((ROOT / "CONTRIBUTING.md").read_text()) == rooms


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make (\w+)", shown, re.MULTILINE)) == set(MAKE_TARGETS.findall(makefile)) - {"help"}


def test_a_push_does_not_end_the_nightly_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert "${{ github.event_name }}" in workflow["concurrency"]["group"]


def matrix() -> list[dict[str, str]]:
    """The versions that the workflow runs ``.ci/run`` with."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    job = workflow["jobs"]["test"]
    env = {"TORCH": "${{ matrix.torch }}", "EXHAUSTIVE": "${{ github.event_name == 'schedule' && 'yes' || 'no' }}"}
    assert {"run": ".ci/run", "env": env} in job["steps"]
    return list(job["strategy"]["matrix"]["include"])


def test_the_workflow_runs_the_oldest_and_the_newest_versions() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    pythons = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    oldest = re.search(r"torch>=([\d.]+)", setup["options"]["install_requires"])
    assert oldest
    run = {(entry["python"], entry["torch"]) for entry in matrix()}
    assert {(pythons[0], f"{oldest[1]}.*"), (pythons[-1], "newest"), (pythons[0], "pinned")} <= run


FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_forms_need(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= form.keys()
    names = [field["id"] for field in form["body"]]
    assert len(names) == len(set(names))
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_pull_request_template_asks_how_the_numbers_were_verified() -> None:
    assert "## How did you verify the numbers?" in (ROOT / ".github" / "pull_request_template.md").read_text()


def test_hooks_before_a_commit_use_the_installed_tools() -> None:
    """So that their versions stand in constraints.txt alone."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    pins = (ROOT / "constraints.txt").read_text()
    tools = {"lint-imports": "import-linter"}
    for hook in repository["hooks"]:
        tool = hook["entry"].split()[0]
        assert f"\n{tools.get(tool, tool)}==" in pins


def undocumented_methods(package: ModuleType) -> list[str]:
    """Public methods without a docstring that override none which has one."""
    found = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(cls) and cls.__module__ == module.name and not cls.__name__.startswith("_"):
                methods = [(name, member) for name, member in vars(cls).items() if is_public_method(name, member)]
                found += [
                    f"{module.name}.{cls.__name__}.{name}" for name, member in methods if not inspect.getdoc(member)
                ]
    return found


def without_arguments(package: ModuleType) -> list[str]:
    """Public functions of many arguments whose docstring has no ``Args:``, unless it refers to another docstring."""
    found = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        members = vars(importlib.import_module(module.name))
        functions = {name: member for name, member in members.items() if inspect.isfunction(member)}
        for cls in members.values():
            if inspect.isclass(cls) and cls.__module__ == module.name and not cls.__name__.startswith("_"):
                own = {name: member for name, member in vars(cls).items() if inspect.isfunction(member)}
                inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
                functions |= {f"{cls.__name__}.{name}": f for name, f in own.items() if name not in inherited}
        for name, function in functions.items():
            if function.__module__ == module.name and lacks_arguments(name, function):
                found.append(f"{module.name}.{name}")
    return found


def lacks_arguments(name: str, function: FunctionType) -> bool:
    """Whether a public function has no list of its arguments and needs one, or has a list of others."""
    names = list(inspect.signature(function).parameters)
    names = names["." in name :]  # without self
    text = inspect.getdoc(function) or ""
    if name.rpartition(".")[2].startswith("_") or text.startswith(("Like :", "See :")):
        return False
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    if section is None:
        return len(names) >= MANY_ARGUMENTS
    return re.findall(r"^    \**(\w+):", section[1], re.MULTILINE) != names


def test_functions_of_several_arguments_list_them_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "__init__.py").write_text("")
    (tmp_path / "listed" / "all.py").write_text(
        "class Base:\n    def go(self, a, b):\n        'Go.'\n\n"
        "class Child(Base):\n    def go(self, a, b):\n        'Go.'\n\n"
        "def one(a):\n    'One.'\n\n"
        "def same(a, b):\n    'Like :func:`two`.'\n\n"
        "def two(a, b):\n    'Two.\\n\\nArgs:\\n    a: One.\\n    b: Other.'\n\n"
        "def old(a):\n    'Old.\\n\\nArgs:\\n    b: An argument that is gone.'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert without_arguments(importlib.import_module("listed")) == ["listed.all.old", "listed.all.Base.go"]
    assert without_arguments(metaexp) == []


def is_public_method(name: str, member: object) -> bool:
    return not name.startswith("_") and isinstance(member, (FunctionType, property, staticmethod, classmethod))


def test_every_public_method_is_explained_where_it_is_or_where_it_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "explained").mkdir()
    (tmp_path / "explained" / "__init__.py").write_text("")
    (tmp_path / "explained" / "all.py").write_text(
        "class Base:\n    def go(self):\n        'Go.'\n\n"
        "class Child(Base):\n    def go(self): ...\n    def stop(self): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert undocumented_methods(importlib.import_module("explained")) == ["explained.all.Child.stop"]
    assert undocumented_methods(metaexp) == []


def float64_on_the_device(package: Path) -> list[str]:
    """Lines of the rooms that compute on any device where numbers become float64, which mps lacks, before ``.cpu()``.

    ``run/predict`` computes on the processor alone.
    """
    files = [path for room in ("run", "algorithms", "core") for path in sources(package / room)]
    return [
        f"{path.relative_to(package)}: {number}"
        for path in files
        if path.parent.name != "predict"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"(?<!\.cpu\(\))\.double\(\)", line)
    ]


def test_numbers_become_float64_on_the_processor(tmp_path: Path) -> None:
    assert float64_on_the_device(ROOT / "metaexp") == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.py").write_text("x = y.cpu().double()\nz = y.double()\n")
    assert float64_on_the_device(tmp_path) == ["run/a.py: 2"]
