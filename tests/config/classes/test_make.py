"""Objects made from configurations, and what may not be made."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from metaexp.config.classes import source, targets
from metaexp.config.classes.checker import Slot, class_spec
from metaexp.config.classes.make import import_class
from metaexp.config.classes.make import make as make_checked
from metaexp.config.classes.source import read_module
from metaexp.config.classes.targets import find_target, trust, trusted
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError
from metaexp.core.optim import Clip, ClipNorm, Schedule, Step
from metaexp.models.base import Network
from metaexp.models.mlp import MLP

MLP_NODE = {
    "_target_": "metaexp.models.mlp.MLP",
    "hidden": [4],
    "use_batch_norm": False,
    "norm_scale": False,
    "norm_eps": 1.0e-3,
    "weight_init": "default",
    "init_std": 0.01,
}
USER_CODE = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from os import system
from torch import nn
from metaexp.core.optim import Clip, Schedule


class Own(Clip):
    def __init__(self, inner: Schedule, numbers: list[int], maybe: Clip | None = None, **rest: int) -> None:
        self.inner, self.numbers, self.maybe, self.rest = inner, numbers, maybe, rest

    def apply(self, module: nn.Module) -> None:
        return None


def factory() -> Clip:
    return Own(None, [])
"""


@pytest.fixture
def user_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of the user's, in which the process runs."""
    (tmp_path / "own_code.py").write_text(USER_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    read_module.cache_clear()
    return tmp_path


def spec(node: dict[str, Any], expected: type[Any], injected: Iterable[str] = ()) -> ClassSpec:
    """A node checked for a place that takes ``expected``."""
    return class_spec(node, Slot(f"{expected.__module__}.{expected.__qualname__}", injected=frozenset(injected)))


def make(node: dict[str, Any], expected: type[Any], **injected: Any) -> Any:
    return make_checked(spec(node, expected, injected), expected, **injected)


def refusal(node: dict[str, Any], expected: type[Any], **injected: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make(node, expected, **injected)
    return str(caught.value)


def test_a_node_becomes_an_object_with_its_keys_as_arguments() -> None:
    step = make({"_target_": "metaexp.core.optim.Step", "every": 3, "gamma": 0.5}, Schedule)
    assert isinstance(step, Step)
    assert (step.every, step.gamma) == (3, 0.5)


def test_only_what_a_constructor_asks_for_is_injected() -> None:
    network = make(MLP_NODE, Network, input_shape=(3,), n_outputs=2, params="not asked for")
    assert isinstance(network, MLP)
    assert network(torch.zeros(1, 3)).shape == (1, 2)


def test_an_optimiser_of_torch_is_made() -> None:
    layer = nn.Linear(2, 2)
    node = {"_target_": "torch.optim.SGD", "lr": 0.1}
    assert isinstance(make(node, torch.optim.Optimizer, params=layer.parameters()), torch.optim.SGD)


def test_objects_do_not_share_lists_with_the_configuration() -> None:
    node = {"_target_": "torch.optim.Adam", "betas": [0.5, 0.6]}
    optimizer = make(node, torch.optim.Optimizer, params=nn.Linear(1, 1).parameters())
    node["betas"].append(0.7)  # type: ignore[attr-defined]
    assert list(optimizer.param_groups[0]["betas"]) == [0.5, 0.6]


def test_the_class_of_a_node_is_imported_without_making_it() -> None:
    assert import_class(spec({"_target_": "metaexp.core.optim.ClipNorm", "threshold": 1.0}, Clip), Clip) is ClipNorm


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.load",
        "torch.nn.Linear",
        "metaexp.core.optim.torch.load",
        "metaexp.config.classes.targets.Path",
        "metaexp.models.base.nn.Module",
        "torch.optim.lr_scheduler.warnings.warn",
        "torch.optimal.Adam",
        "own_code.Own",
        "own_code.system",
        "Own",
        "",
    ],
)
def test_other_targets_are_refused_before_any_import(target: str, user_package: Path) -> None:
    before = set(sys.modules)
    assert "_target_" in refusal({"_target_": target}, object)
    assert set(sys.modules) == before
    assert not (user_package / "imported").exists()


def test_a_trusted_package_may_be_named_and_another_still_not(user_package: Path) -> None:
    trust("own_code")
    assert trusted() == ("own_code",)
    inner = {"_target_": "metaexp.core.optim.Constant"}
    own = make({"_target_": "own_code.Own", "inner": inner, "numbers": [1], "extra": 3}, Clip)
    assert (user_package / "imported").exists()
    assert type(own).__name__ == "Own"
    assert isinstance(own.inner, Schedule)
    assert own.rest == {"extra": 3}
    assert "refused" in refusal({"_target_": "pickle.Unpickler"}, object)


def test_a_class_of_an_own_module_that_was_renamed_is_said_to_be_there_under_its_new_name(user_package: Path) -> None:
    trust("own_code")
    said = refusal({"_target_": "own_code.RidgeHead"}, Clip)
    own = re.findall(r"^class (\w+)", USER_CODE, re.M)
    assert f"own_code has no class RidgeHead. It has {own[0]}" in said
    assert f"If the class was renamed, write `class RidgeHead({own[0]}): pass` there" in said
    assert "It has" not in refusal({"_target_": "metaexp.core.optim.RidgeHead"}, Clip)
    assert refusal({"_target_": "own_code.Ownn"}, Clip).endswith("has no class Ownn. Did you mean Own?")


def test_trust_does_not_reach_through_a_package_to_what_it_imports(user_package: Path) -> None:
    trust("own_code")
    assert "own_code has no class system" in refusal({"_target_": "own_code.system"}, object)
    assert "own_code has no class factory" in refusal({"_target_": "own_code.factory"}, Clip)


def test_a_package_that_is_not_there_cannot_be_trusted(user_package: Path) -> None:
    with pytest.raises(ConfigError, match=r"--trust no_such_code: there is no such package"):
        trust("no_such_code")
    with pytest.raises(ConfigError, match=r"--trust a.b: give the name of one top-level package"):
        trust("a.b")
    assert str(user_package) not in sys.path


def test_a_class_of_the_wrong_kind_is_refused() -> None:
    assert "is not a Schedule" in refusal({"_target_": "metaexp.core.optim.NoClip"}, Schedule)


def test_a_class_that_leaves_methods_of_its_base_class_out_is_refused_by_their_names(user_package: Path) -> None:
    (user_package / "half_done.py").write_text(
        "from metaexp.core.optim import Schedule\n\n\nclass Half(Schedule):\n    pass\n"
    )
    trust("half_done")
    with pytest.raises(ConfigError, match=r"half_done\.Half cannot be made: the class does not define factor"):
        make({"_target_": "half_done.Half"}, Schedule)  # type: ignore[type-abstract]


@pytest.mark.parametrize(("base", "is_allowed"), [("nn.Module", True), ("nn.Sequential", True), ("Clip", False)])
def test_a_network_may_derive_from_torch_but_not_from_another_class_of_metaexp(
    base: str, is_allowed: bool, user_package: Path
) -> None:
    (user_package / "my_net.py").write_text(
        f"from torch import nn\nfrom metaexp.core.optim import Clip\n\n\nclass Net({base}):\n    pass\n"
    )
    trust("my_net")
    if is_allowed:
        assert find_target("model", "my_net.Net", "metaexp.models.base.Network", "torch.nn").path == "my_net.Net"
    else:
        with pytest.raises(ConfigError, match=r"or from torch\.nn\.Module"):
            find_target("model", "my_net.Net", "metaexp.models.base.Network", "torch.nn")
    with pytest.raises(ConfigError, match=r"needs a class derived from metaexp\.models\.base\.Network\."):
        find_target("model", "my_net.Net", "metaexp.models.base.Network")


def test_a_nested_node_is_checked_like_any_other(user_package: Path) -> None:
    trust("own_code")
    good = {"_target_": "metaexp.core.optim.NoClip"}
    node = {"_target_": "own_code.Own", "inner": good, "numbers": []}
    assert "is not a Schedule" in refusal(node, Clip)
    node = {"_target_": "own_code.Own", "inner": {"_target_": "os.system"}, "numbers": []}
    assert "refused" in refusal(node, Clip)
    node = {"_target_": "own_code.Own", "inner": {"_target_": "metaexp.core.optim.Constant"}, "numbers": good}
    assert "node.numbers={_target_:metaexp.core.optim.NoClip} must be a list" in refusal(node, Clip)
    node |= {"numbers": [], "x": [good]}
    assert "node.x=[{_target_:metaexp.core.optim.NoClip}] does not take an object" in refusal(node, Clip)


def test_a_class_of_a_package_that_is_not_trusted_is_not_imported_even_if_nobody_checked_it(user_package: Path) -> None:
    unchecked = ClassSpec("own_code.Own", "own_code.Own", {}, frozenset())
    with pytest.raises(ConfigError, match="own_code.Own is refused"):
        make_checked(unchecked, object)
    with pytest.raises(ConfigError, match="antigravity.Anything is refused"):
        import_class(ClassSpec("metaexp.fine", "antigravity.Anything", {}, frozenset()), object)
    assert not (user_package / "imported").exists()


def test_making_an_object_reads_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    found = spec(MLP_NODE, Network, ["input_shape", "n_outputs"])
    monkeypatch.setattr(source, "read_module", lambda name: pytest.fail(f"{name} was read"))
    assert isinstance(make_checked(found, Network, input_shape=(3,), n_outputs=2), MLP)  # type: ignore[type-abstract]
    with pytest.raises(pytest.fail.Exception):
        spec(MLP_NODE, Network)


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_", "every_", "factor"])
def test_keys_that_the_constructor_does_not_take_are_refused(key: str) -> None:
    node = {"_target_": "metaexp.core.optim.Step", "every": 3, "gamma": 0.5, key: 1}
    assert f"node.{key} is not" in refusal(node, Schedule)


def test_a_configuration_cannot_give_what_is_injected() -> None:
    said = refusal({**MLP_NODE, "n_outputs": 7}, Network, input_shape=(3,), n_outputs=2)
    assert "node.n_outputs comes from the framework" in said


def test_nothing_else_in_the_project_makes_objects_from_configurations() -> None:
    """No call of Hydra's ``instantiate``, ``get_class`` or ``call`` anywhere."""
    root = Path(targets.__file__).parents[2]
    code = {path: path.read_text() for path in root.rglob("*.py")}
    assert [path for path, text in code.items() if "instantiate(" in text or "get_class(" in text] == []
    assert any("import_module(" in text for text in code.values())  # the search does see code


def test_making_is_refused_in_a_fresh_process_too() -> None:
    code = (
        "import sys; from metaexp.config.classes.checker import Slot, class_spec\n"
        "from metaexp.core.errors import ConfigError\n"
        "try: class_spec({'_target_': 'antigravity.Anything'}, Slot('builtins.object'))\n"
        "except ConfigError: print('antigravity' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_what_an_optimiser_of_torch_refuses_is_an_error_of_the_configuration() -> None:
    """Also where no rule of ours knows it: here the ranges of Rprop."""
    node = {"_target_": "torch.optim.Rprop", "lr": 0.1, "etas": [1.5, 1.2]}
    with pytest.raises(ConfigError, match=r"torch.optim.Rprop refuses its arguments: Invalid eta values"):
        make(node, torch.optim.Optimizer, params=nn.Linear(1, 1).parameters())
