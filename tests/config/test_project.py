"""A project of one's own: metaexp.toml and the environment in the place of --config-dir and --trust."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from forking import run_main
from sampling import only_exhaustive

from metaexp.cli.main import main
from metaexp.config import permissions
from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.config.permissions import allow, allowed, forget, list_file, read_list
from metaexp.config.project import find_project, own_files, read_project, use_own_files
from metaexp.core.errors import ConfigError

CODE = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from metaexp.models.mlp import MLP
class Mine(MLP):
    pass
"""
MODEL = """\
_target_: {name}.nets.Mine
hidden: [4]
use_batch_norm: false
norm_scale: false
norm_eps: 0.001
weight_init: default
init_std: 0.01
"""
TOML = 'config_dir = "conf"\ntrust = ["{name}"]\n'
SHORT = [
    "model=mine", "dataset=sinusoid", "train.steps=1", "train.eval_episodes=2", "eval.episodes=2", "tracker=files",
    "device=cpu", "train.meta_batch_size=2",
]  # fmt: skip


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A package's name of the test's own, because a process imports a package once."""
    return f"own_{abs(hash(request.node.nodeid)) % 10**8}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """A project with a network, in whose subfolder the process runs."""
    root = tmp_path / "project"
    (root / name).mkdir(parents=True)
    (root / name / "__init__.py").write_text("")
    (root / name / "nets.py").write_text(CODE)
    (root / "conf" / "model").mkdir(parents=True)
    (root / "conf" / "model" / "mine.yaml").write_text(MODEL.format(name=name))
    (root / "metaexp.toml").write_text(TOML.format(name=name))
    (root / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(root / "deep" / "er")
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(targets, "_folders", {})
    monkeypatch.setattr(targets, "_ways", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    read_module.cache_clear()
    return root


def was_imported(project: Path, name: str) -> bool:
    return (project / name / "imported").exists()


def test_the_nearest_file_above_the_current_folder_is_the_project(project: Path, name: str) -> None:
    found = find_project()
    assert found is not None
    assert (found.file, found.config_dir, found.packages) == (project / "metaexp.toml", project / "conf", (name,))
    (project / "deep" / "metaexp.toml").write_text("")
    nearer = find_project()
    assert nearer is not None
    assert (nearer.file, nearer.config_dir, nearer.packages) == (project / "deep" / "metaexp.toml", None, ())
    assert find_project(project.parent) is None


def test_the_code_of_a_project_that_nobody_allowed_is_not_imported(
    project: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SHORT]) == 2
    said = capsys.readouterr().err
    assert f"_target_={name}.nets.Mine is refused, and nothing of it was imported" in said
    assert "run `metaexp trust`, which allows what metaexp.toml of this project asks for" in said
    assert f"code of {name} not allowed yet (metaexp trust)" in said
    assert not was_imported(project, name)


def test_a_project_that_the_user_allowed_runs_from_any_of_its_folders(
    project: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust"]) == 0
    assert f"may run code of {name} now" in capsys.readouterr().out
    assert not was_imported(project, name)
    assert main(["train", *SHORT, f"hydra.run.dir={project / 'run'}"]) == 0
    assert f"using {project / 'metaexp.toml'}: files in conf, code of {name}" in capsys.readouterr().err
    assert was_imported(project, name)
    assert json.loads((project / "run" / "record.json").read_text())["own_code"]["digest"]
    assert main(["trust", "--list"]) == 0
    assert f"{project / 'metaexp.toml'}: {name}" in capsys.readouterr().out
    assert main(["trust", "--remove"]) == 0
    assert main(["trust", "--list"]) == 0
    assert "no project is allowed" in capsys.readouterr().out
    assert main(["trust", "--remove"]) == 0
    assert "it was not allowed" in capsys.readouterr().out


@only_exhaustive
@pytest.mark.slow
def test_a_sweep_hands_the_code_of_the_project_to_its_jobs(project: Path, name: str) -> None:
    """The job is a new Python process."""
    allow(project / "metaexp.toml", [name])
    command = ["train", "-m", *SHORT, "seed=0", "sweep.fork=false", f"hydra.sweep.dir={project / 'sweep'}"]
    done = run_main(command, Path.cwd())
    assert done.code == 0, done.output
    records = [json.loads(path.read_text()) for path in (project / "sweep").glob("*/record.json")]
    assert [record["status"] for record in records] == ["completed"]


def test_a_file_that_names_another_package_later_has_to_be_allowed_again(project: Path, name: str) -> None:
    allow(project / "metaexp.toml", [name])
    (project / "more.py").write_text("")
    (project / "metaexp.toml").write_text(f'trust = ["{name}", "more"]')
    found = own_files(None, [])
    assert (found.trust, found.waiting) == ((str(project / name),), ("more",))


def test_a_file_of_another_owner_is_not_the_one_that_was_allowed(project: Path, name: str) -> None:
    file = project / "metaexp.toml"
    allow(file, [name])
    assert allowed(file) == {name}
    listed = read_list()
    listed[str(file)]["owner"] = os.getuid() + 1
    list_file().write_text(json.dumps(listed))
    assert allowed(file) == frozenset()
    assert forget(file)


def test_the_user_can_name_the_package_on_the_command_line_or_in_the_environment(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a subfolder, too, where the package is not in the current folder."""
    assert own_files(None, [name]).trust == (str(project / name),)
    monkeypatch.setenv("METAEXP_TRUST", f" {name},, other")
    found = own_files(None, [])
    assert found.trust == ("other", str(project / name))
    assert f"METAEXP_TRUST: code of {name}, other" in found.origin


def test_the_command_line_comes_before_the_environment_and_that_before_the_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own_files(None, []).config_dir == project / "conf"
    monkeypatch.setenv("METAEXP_CONFIG_DIR", str(tmp_path))
    assert own_files(None, []).config_dir == tmp_path
    assert f"METAEXP_CONFIG_DIR: files in {tmp_path}" in own_files(None, []).origin
    assert own_files(Path("mine"), []).config_dir == Path("mine")


WRONG = {
    "config_dri = 'conf'": "config_dri is not a key of this file. Did you mean config_dir?",
    "config_dir = 3": "config_dir=3 must be the name of a folder beside the file",
    "config_dir = '..'": "config_dir=.. must lie below the folder of the file",
    "config_dir = '/etc'": "config_dir=/etc must lie below the folder of the file",
    "config_dir = '.'": "must lie below the folder of the file",
    "config_dir = 'no'": "config_dir=no: there is no such folder",
    'config_dir = "a\\u0000b"': "must be the name of a folder beside the file",
    "trust = 'mine'": "trust=mine must be a list of packages",
    "trust = ['a.b']": "must be a list of packages",
    "trust = [1]": "must be a list of packages",
    "trust = ['torch']": "trust names torch, which does not lie beside the file",
    "trust = [": "cannot be read as TOML",
    "#" * 100_001: "has more than 100,000 bytes",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_wrong_is_refused_in_one_line_each(tmp_path: Path, text: str) -> None:
    file = tmp_path / "metaexp.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_project(file)
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)
    file.write_text("")
    assert read_project(file).packages == ()


def test_a_package_with_the_name_of_an_installed_one_is_refused(project: Path) -> None:
    (project / "yaml").mkdir()
    (project / "metaexp.toml").write_text('trust = ["yaml"]')
    allow(project / "metaexp.toml", ["yaml"])
    with pytest.raises(ConfigError, match=r"^metaexp\.toml: trust names .*: Python finds another package of this name"):
        use_own_files(None, [])


def test_a_package_that_is_not_there_is_said_to_be_of_the_environment_where_that_names_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAEXP_TRUST", "not_there,not_there_too")
    with pytest.raises(ConfigError, match="^METAEXP_TRUST=not_there: there is no such package"):
        use_own_files(None, [])
    with pytest.raises(ConfigError, match="^--trust not_there: there is no such package"):
        use_own_files(None, ["not_there"])


def test_a_package_is_trusted_by_its_path(project: Path, name: str) -> None:
    targets.trust(f"../../{name}")
    assert targets.trusted() == (name,)
    assert targets.trust_arguments() == (str(project / name),)
    for wrong in ("../../nowhere", "a b", f"../../{name}/"):
        with pytest.raises(ConfigError, match="--trust"):
            targets.trust(wrong)


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}', '{"a": {"packages": [1], "owner": 0}}'])
def test_a_damaged_list_of_permissions_allows_nothing(project: Path, name: str, content: str) -> None:
    list_file().parent.mkdir(parents=True)
    list_file().write_text(content)
    with pytest.raises(ConfigError, match="Remove it, and allow your projects again with metaexp trust"):
        use_own_files(None, [])
    assert targets.trusted() == ()


def test_what_cannot_be_allowed_is_explained(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METAEXP_CONFIG_DIR", str(tmp_path / "nowhere"))
    assert main(["plan"]) == 2
    assert f"METAEXP_CONFIG_DIR={tmp_path / 'nowhere'}: there is no such folder" in capsys.readouterr().err
    assert main(["trust", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["trust", str(tmp_path)]) == 2
    assert f"there is no metaexp.toml in {tmp_path} or above it" in capsys.readouterr().err
    (project / "metaexp.toml").write_text("")
    assert main(["trust"]) == 2
    assert "names no packages" in capsys.readouterr().err
    (tmp_path / "settings").touch()
    (project / "metaexp.toml").write_text("trust = ['deep']")
    assert main(["trust"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_list_of_permissions_that_is_not_a_file_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fifo = tmp_path / "trusted.json"
    os.mkfifo(fifo)
    monkeypatch.setattr(permissions, "list_file", lambda: fifo)
    with pytest.raises(ConfigError, match=r"trusted\.json.* cannot be read \(it is not a regular file\)"):
        permissions.read_list()


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "a link to nothing", "a loop"])
def test_what_is_not_a_file_is_not_ignored_for_a_project_above(tmp_path: Path, kind: str) -> None:
    (tmp_path / "metaexp.toml").write_text("")
    inner = tmp_path / "inner"
    inner.mkdir()
    found = find_project(inner)
    assert found is not None
    assert found.file == tmp_path / "metaexp.toml"
    file = inner / "metaexp.toml"
    if kind == "a folder":
        file.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(file)
    else:
        file.symlink_to("metaexp.toml" if kind == "a loop" else "nowhere")
    with pytest.raises(ConfigError, match=r"inner/metaexp\.toml is not a file, or is a link"):
        find_project(inner)
