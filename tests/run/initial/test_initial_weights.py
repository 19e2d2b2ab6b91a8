"""A run that begins from a file of weights: what it takes, what it says, and what it refuses."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch
from kept_runs import KeptRuns
from torch import Tensor, nn

from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.machine.signals import Interrupted
from metaexp.models.batch_norm import BatchNorm
from metaexp.reproduce.rerun import plan_rerun, rerun
from metaexp.results.record import read_record
from metaexp.run.checkpoint import read
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.initial.weights import WeightsFile, format_initial, load_initial
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 3)
        self.norm = BatchNorm(3)
        self.head = nn.Linear(3, 4)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in network.state_dict().items()}


def fill(network: nn.Module, value: float) -> dict[str, Tensor]:
    return {name: torch.full_like(t, value) for name, t in tensors_of(network).items()}


def load(network: nn.Module, tensors: dict[str, Tensor], is_partial: bool = False) -> Any:
    return load_initial(network, WeightsFile("some.pt", "ab" * 32, tensors), is_partial)


@pytest.mark.parametrize("prefix", ["", "model.", "state_dict.module.encoder."])
def test_a_whole_network_is_taken_whatever_stands_before_its_names(prefix: str) -> None:
    network = Small()
    report = load(network, {prefix + name: t for name, t in fill(network, 0.5).items()} | {"epoch": torch.zeros(1)})
    assert all(bool((t == 0.5).all()) for t in network.state_dict().values())
    assert (report.prefix, report.missing, report.other_shape, report.left_over) == (prefix, [], [], ["epoch"])
    assert sorted(report.matched) == sorted(network.state_dict())


def test_a_part_is_taken_only_where_that_is_allowed_and_the_rest_stays() -> None:
    network = Small()
    before = tensors_of(network)
    part = fill(network, 0.5) | {"head.weight": torch.zeros(9, 3)}
    del part["norm.running_mean"]
    words = r"has other shapes than the network: head\.weight is \(9, 3\), not \(4, 3\) and lacks norm\.running_mean of"
    with pytest.raises(ConfigError, match=rf"{words} the network\. .* set model\.weights_partial=true"):
        load(network, part)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    report = load(network, part, is_partial=True)
    assert (report.missing, report.other_shape, report.left_over) == (
        ["norm.running_mean"], ["head.weight"], ["head.weight"],
    )  # fmt: skip
    assert torch.equal(network.head.weight, before["head.weight"])
    assert bool((network.body.weight == 0.5).all())
    text = "\n".join(format_initial(report))
    assert "; their names there" not in text
    prefixed = "\n".join(format_initial(dataclasses.replace(report, prefix="model.")))
    assert '(SHA-256 abababababab); their names there begin with "model."\n' in prefixed
    for words in ("from some.pt (SHA-256 abababababab)", "not in it: norm.running_mean", "another shape: head.weight"):
        assert words in text


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"other": torch.zeros(2)}, "agree in no name: it has other, where the network has body.weight"),
        ({}, "agree in no name: it has nothing"),
        ({"body.weight": torch.zeros(7)}, r"agree in no tensor: body\.weight is \(7,\), not \(3, 2\)"),
    ],
)
def test_weights_of_which_nothing_fits_are_refused(tensors: dict[str, Tensor], words: str, is_partial: bool) -> None:
    with pytest.raises(ConfigError, match=words):
        load(Small(), tensors, is_partial)


@pytest.mark.parametrize(
    "names", [["norm.weight", "norm.bias", "norm.running_mean"], ["norm.running_var"], ["body.bias", "head.bias"]],
    ids=["batch norm", "a buffer", "biases"],
)  # fmt: skip
def test_weights_without_a_kernel_or_matrix_of_the_network_are_refused_and_the_network_stays(names: list[str]) -> None:
    network = Small()
    before = tensors_of(network)
    file = {name: t for name, t in fill(network, 0.5).items() if name in names}
    file |= {"body.weight": torch.zeros(3, 7), "conv.weight": torch.zeros(3, 1, 3, 3)}
    words = (
        r"weights=some\.pt has no kernel and no matrix of the network in the same shape: the network has body\.weight "
        r"\(3, 2\), head\.weight \(4, 3\), and the file body\.weight \(3, 7\), conv\.weight \(3, 1, 3, 3\)\. Only "
        rf"{', '.join(names)} would be taken.* Choose the model that these weights belong to"
    )
    with pytest.raises(ConfigError, match=words):
        load(network, file, is_partial=True)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    load(network, file | {"head.weight": torch.zeros(4, 3)}, is_partial=True)
    assert not bool(network.head.weight.any())


def test_a_network_of_vectors_alone_takes_a_part_of_them() -> None:
    network = BatchNorm(3)
    assert load(network, {"weight": torch.full((3,), 0.5)}, is_partial=True).matched == ["weight"]


@pytest.mark.parametrize(("n_taken", "is_said"), [(1, True), (2, False), (3, False)])
def test_a_small_part_of_the_kernels_and_matrices_is_taken_with_a_warning(
    n_taken: int, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5))
    load(network, {f"{i}.weight": torch.zeros_like(network[i].weight) for i in range(n_taken)}, is_partial=True)
    words = (
        "some.pt has only 1 of the network's 4 kernels and matrices in the same shape. The others begin at random: 1.w"
    )
    assert (words in caplog.text) == is_said == bool(caplog.records)


def test_weights_that_are_not_finite_or_not_real_are_refused() -> None:
    network = Small()
    broken = fill(network, 0.5)
    broken["head.bias"][2] = torch.nan
    with pytest.raises(ConfigError, match=r"head\.bias holds values that are not finite"):
        load(network, broken)
    with pytest.raises(ConfigError, match=r"body\.weight is torch\.int64 there, and torch\.float32 in the network"):
        load(network, fill(network, 1) | {"body.weight": torch.ones(3, 2, dtype=torch.int64)})
    half = {name: t.half() for name, t in fill(network, 0.5).items()}
    load(network, half)
    assert network.body.weight.dtype == torch.float32


def test_a_file_that_holds_the_network_twice_is_refused_and_the_plain_one_comes_first() -> None:
    network = Small()
    twice = {f"{side}.{name}": t for side in ("left", "right") for name, t in fill(network, 1.0).items()}
    with pytest.raises(ConfigError, match=r"holds the network 2 times, as left and as right\. Give"):
        load(network, twice)
    plain = fill(network, 0.25)
    assert load(network, twice | plain).prefix == ""
    assert bool((network.body.weight == 0.25).all())


class Wrapped(nn.Module):
    """A network of another package in an attribute, and a head of its own."""

    def __init__(self, kind: type[nn.Module] = Small) -> None:
        super().__init__()
        self.net = kind()
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize("prefix", ["", "state_dict.module."])
def test_a_network_in_an_attribute_is_taken_by_the_names_that_it_has_by_itself(prefix: str) -> None:
    network = Wrapped()
    file = {prefix + name: t for name, t in fill(network.net, 0.5).items()}
    with pytest.raises(ConfigError, match=r"lacks head\.weight, head\.bias of the network"):
        load(Wrapped(), file)
    report = load(network, file, is_partial=True)
    assert (report.prefix, report.missing, report.left_over) == (prefix, ["head.weight", "head.bias"], [])
    assert sorted(report.matched) == sorted(f"net.{name}" for name in network.net.state_dict())
    assert all(bool((t == 0.5).all()) for t in network.net.state_dict().values())
    assert not bool((network.head.weight == 0.5).any())


def test_names_that_the_network_has_come_before_those_of_a_part_of_it() -> None:
    network = Wrapped()
    file = fill(network, 0.5) | {name: t for name, t in fill(network.net, 0.25).items() if not name.startswith("head")}
    report = load(network, file)
    assert report.missing == []
    assert bool((network.net.body.weight == 0.5).all())


class Twins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Small(), Small()


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize(
    ("network", "file"),
    [(Wrapped, {"other.weight": torch.zeros(2, 4), "other.bias": torch.zeros(2)}), (Twins, fill(Small(), 0.5))],
    ids=["a layer", "one of two"],
)
def test_a_layer_is_not_taken_for_a_whole_network_nor_one_part_for_another(
    network: type[nn.Module], file: dict[str, Tensor], is_partial: bool
) -> None:
    with pytest.raises(ConfigError, match="agree in no name"):
        load(network(), file, is_partial)


@pytest.fixture
def donor(tiny: ModuleType, tmp_path: Path, silent: Lines, kept_runs: KeptRuns) -> Path:
    def train(outputs: Path) -> Path:
        folder: Path = run_job(tiny.settings(outputs), folder=outputs / "donor", display=silent).folder
        return folder

    return kept_runs.copy("donor", tmp_path, train)


def from_weights(tiny: ModuleType, tmp_path: Path, place: Path, partial: bool = False, **changes: Any) -> Settings:
    node = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.1, "weights": str(place), "weights_partial": partial}
    settings: Settings = tiny.settings(tmp_path, **{"model": node, **changes})
    return settings


def untrained(tiny: ModuleType, tmp_path: Path, silent: Lines, place: Path, **changes: Any) -> dict[str, Tensor]:
    """The weights of a run of no step that begins from ``place``."""
    folder = run_job(from_weights(tiny, tmp_path, place, train__steps=0, **changes), display=silent).folder
    return read(folder / "checkpoints" / "best")[0]


@pytest.mark.parametrize("kind", ["run", "safetensors", "pt", "checkpoint of a loop"])
def test_a_run_begins_at_the_weights_of_the_file(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path, kind: str
) -> None:
    selected, _ = read(donor / "checkpoints" / "best")
    model = {name.removeprefix("model."): t for name, t in selected.items()}
    place = {"run": donor, "safetensors": donor / "checkpoints" / "best.safetensors"}.get(kind, tmp_path / "w.pt")
    if kind == "pt":
        torch.save(model, place)
    elif kind == "checkpoint of a loop":
        torch.save({"epoch": 3, "state_dict": model, "optimizer": {"lr": 0.1, "state": [torch.zeros(2)]}}, place)
    found = untrained(tiny, tmp_path, silent, place)
    assert all(torch.equal(found[name], t) for name, t in selected.items())
    other = untrained(tiny, tmp_path, silent, place, seed=1)
    assert all(torch.equal(other[name], t) for name, t in selected.items())
    plain, _ = read(run_job(tiny.settings(tmp_path, train__steps=0), display=silent).folder / "checkpoints" / "best")
    assert not any(torch.equal(plain[name], t) for name, t in selected.items() if name.endswith("weight"))


def test_the_run_says_what_it_took_and_its_record_keeps_it(
    tiny: ModuleType, tmp_path: Path, donor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = from_weights(tiny, tmp_path, donor)
    finished = run_job(settings)
    taken = read_record(finished.folder).initial_weights
    assert taken is not None
    assert (taken.file, taken.prefix, taken.missing) == ("donor", "model.", [])
    assert taken.sha256 == settings.model.options["weights_sha256"]
    assert "tensors of the network from donor (SHA-256" in capsys.readouterr().err
    assert read_record(donor).initial_weights is None
    evaluate_run(finished.folder)


def test_a_run_that_continues_or_is_evaluated_needs_the_file_no_more(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path, stop_after: Callable[..., Lines]
) -> None:
    settings = from_weights(tiny, tmp_path, donor)
    twin = run_job(settings, display=silent).folder
    with pytest.raises(Interrupted):
        run_job(settings, folder=tmp_path / "stopped", display=stop_after(7))
    shutil.rmtree(donor)
    record = resume_job(tmp_path / "stopped", silent).record
    assert record.initial_weights == read_record(twin).initial_weights
    assert (tmp_path / "stopped" / "metrics.jsonl").read_bytes() == (twin / "metrics.jsonl").read_bytes()
    assert evaluate_run(twin, display=silent).evaluation.test == read_record(twin).test


def test_a_run_killed_before_its_first_checkpoint_takes_the_weights_again(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path, stop_after: Callable[..., Lines]
) -> None:
    settings = from_weights(tiny, tmp_path, donor)
    twin = run_job(settings, display=silent).folder
    with pytest.raises(Interrupted):
        run_job(settings, folder=tmp_path / "killed", display=stop_after(2))
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    resume_job(tmp_path / "killed", silent)
    assert (tmp_path / "killed" / "metrics.jsonl").read_bytes() == (twin / "metrics.jsonl").read_bytes()


def test_a_file_that_was_changed_after_the_check_is_refused_before_the_data_are_loaded(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path
) -> None:
    path = tmp_path / "w.safetensors"
    shutil.copy(donor / "checkpoints" / "best.safetensors", path)
    settings = from_weights(tiny, tmp_path, path, dataset={"_target_": "tiny_runs.Missing"})
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="is not the file that the configuration names"):
        run_job(settings, display=silent)
    path.unlink()
    with pytest.raises(ConfigError, match=r"w\.safetensors cannot be read"):
        run_job(settings, display=silent)


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("/tmp/metaexp-was-here").touch, ())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.safetensors", b"nonsense", r"w\.safetensors is damaged"),
        ("w.pt", b"nonsense", r"w\.pt (is not a file of torch\.save|holds more than tensors)"),
        ("w.pt", b"", r"w\.pt (is not a file of torch\.save|holds more than tensors)"),
        (
            "w.pt",
            b"hello",
            r"w\.pt is not a file of torch\.save, or is damaged: torch.* \(KeyError: 101\)",
        ),
        (
            "w.pt",
            pickle.dumps(Attack()),
            r"w\.pt holds more than tensors and plain values, or is damaged, so it was not",
        ),
        ("w.pt", b"PK\x03\x04" + b"0" * 50, r"w\.pt is not a file of torch\.save, or is damaged: .*\(\w+Error: "),
    ],
)
def test_a_damaged_or_hostile_file_is_refused_in_one_line(
    tiny: ModuleType, tmp_path: Path, silent: Lines, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunFolderError, match=words) as refused:
        run_job(from_weights(tiny, tmp_path, tmp_path / name), display=silent)
    assert "\n" not in str(refused.value)
    assert not Path("/tmp/metaexp-was-here").exists()


def test_a_program_of_torchscript_is_not_run_and_the_message_says_what_to_save(
    tiny: ModuleType, tmp_path: Path, silent: Lines, recwarn: pytest.WarningsRecorder
) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)), tmp_path / "w.pt")
    recwarn.clear()
    with pytest.raises(RunFolderError, match=r"w\.pt is a program of TorchScript .*Save the network's state_dict\(\)"):
        run_job(from_weights(tiny, tmp_path, tmp_path / "w.pt"), display=silent)
    assert not [str(warning.message) for warning in recwarn if "TorchScript" in str(warning.message)]


def test_the_names_of_a_file_are_listed_in_the_same_order_each_time(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    """Safetensors itself gives them in another order each time."""
    safetensors.torch.save_file({f"{number:02}": torch.zeros(1) for number in range(40)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="agree in no name: it has 00, 01, 02, 03 and 36 more"):
        run_job(from_weights(tiny, tmp_path, tmp_path / "w.safetensors"), display=silent)


def test_a_pickle_of_nested_references_is_refused_soon(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    value: Any = {"x": 1}
    for _ in range(12):
        value = {str(i): value for i in range(10)}
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(RunFolderError, match="holds more than 100,000 values"):
        run_job(from_weights(tiny, tmp_path, tmp_path / "w.pt"), display=silent)
    for _ in range(30):
        value = {"x": value}
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(RunFolderError, match="nested more than 16 levels deep"):
        run_job(from_weights(tiny, tmp_path, tmp_path / "w.pt"), display=silent)


def test_evaluate_refuses_other_first_weights_for_what_is_trained_already(donor: Path, silent: Lines) -> None:
    with pytest.raises(ConfigError, match=r"model\.weights has no effect on an evaluation"):
        evaluate_run(donor, [f"model.weights={donor}"], display=silent)


def test_the_weights_of_a_run_that_has_only_checkpoints_are_those_that_did_best(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "stopped", display=stop_after(7))
    (newest,) = (tmp_path / "stopped" / "checkpoints").glob("step_000000007.json")
    tensors, _ = read(newest.with_suffix(""))
    found = untrained(tiny, tmp_path, silent, tmp_path / "stopped")
    assert all(torch.equal(t, tensors[f"best/{name}"]) for name, t in found.items())
    assert not all(torch.equal(t, tensors[f"weights/{name}"]) for name, t in found.items())


def another_run(tiny: ModuleType, donor: Path, silent: Lines) -> None:
    other = run_job(tiny.settings(donor.parent, seed=5), display=silent).folder
    for suffix in ("json", "safetensors"):
        shutil.copy(other / "checkpoints" / f"best.{suffix}", donor / "checkpoints")


def changed_weights(tiny: ModuleType, donor: Path, silent: Lines) -> None:
    path = donor / "checkpoints" / "best.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    path.write_bytes(safetensors.torch.save({name: t + 1 for name, t in tensors.items()}))


def linked_folder(tiny: ModuleType, donor: Path, silent: Lines) -> None:
    (donor / "checkpoints").rename(donor.parent / "elsewhere")
    (donor / "checkpoints").symlink_to(donor.parent / "elsewhere")


def damaged_manifest(tiny: ModuleType, donor: Path, silent: Lines) -> None:
    (donor / "checkpoints" / "best.json").write_text('{"values": 5}')


def enormous(tiny: ModuleType, donor: Path, silent: Lines) -> None:
    os.truncate(donor / "checkpoints" / "best.safetensors", 1 << 35)


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (another_run, "holds weights of another run: config_hash is .* Put the run's own file back"),
        (changed_weights, r"best\.safetensors was changed after the run: best\.json has another SHA-256"),
        (linked_folder, "checkpoints is a symbolic link"),
        (damaged_manifest, r"best\.json is damaged \(KeyError"),
        (enormous, "has 34359738368 bytes, and is not a file of weights of that length"),
    ],
)
def test_a_run_folder_whose_weights_are_not_those_that_it_saved_is_refused(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path,
    deed: Callable[[ModuleType, Path, Lines], None], words: str,
) -> None:  # fmt: skip
    assert from_weights(tiny, tmp_path, donor).config_hash
    deed(tiny, donor, silent)
    with pytest.raises(RunFolderError, match=words):
        from_weights(tiny, tmp_path, donor)


def test_a_run_folder_whose_configuration_is_of_another_run_is_refused(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path
) -> None:
    settings = from_weights(tiny, tmp_path, donor)
    assert run_job(settings, display=silent).record.status == "completed"
    text = (donor / "config.yaml").read_text()
    (donor / "config.yaml").write_text(text.replace("seed: 0", "seed: 4"))
    with pytest.raises(RunFolderError, match=r"config\.yaml has the hash .*: it was changed after the run"):
        run_job(settings, display=silent)


def test_such_a_run_can_be_made_again_where_its_file_of_weights_is(
    tiny: ModuleType, tmp_path: Path, silent: Lines, donor: Path
) -> None:
    run = run_job(from_weights(tiny, tmp_path, donor), folder=tmp_path / "run", display=silent).folder
    outputs = f"paths.outputs={tmp_path}"
    assert rerun(plan_rerun(run, [outputs]), silent).result.identical
    donor.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match=r"model\.weights=.*donor cannot be read"):
        plan_rerun(run, [outputs])
    assert plan_rerun(run, [outputs, f"model.weights={tmp_path / 'moved'}"]).settings.config_hash
    other = run_job(tiny.settings(tmp_path, seed=4), display=silent).folder
    with pytest.raises(ConfigError, match="is not the file that the configuration names"):
        plan_rerun(run, [outputs, f"model.weights={other}"])
    config = (run / "config.yaml").read_text().replace(str(donor), "<path>")
    (run / "config.yaml").write_text(config)
    with pytest.raises(ConfigError, match=r"model\.weights was blanked .* the file whose SHA-256 is [0-9a-f]{64}"):
        plan_rerun(run, [outputs])
