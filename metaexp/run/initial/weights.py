"""Reads the file of ``model.weights``, and copies the weights into a network by name and shape."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from metaexp.config.initial_weights import SAFETENSORS, check_digest, weights_file
from metaexp.config.schema import ClassSpec
from metaexp.core.counted import listed
from metaexp.core.disk.files import open_tensors
from metaexp.core.errors import ConfigError, RunFolderError, first_line
from metaexp.results.beginning import InitialWeights
from metaexp.results.record import RECORD_FILE, read_record
from metaexp.run.integrity import check_run_files

log = logging.getLogger(__name__)

_MOST_ITEMS = 100_000
_MOST_LEVELS = 16
_SHOWN = 4
_DAMAGE = (RuntimeError, ValueError, EOFError, KeyError, TypeError, OSError, AttributeError, zipfile.BadZipFile)
"""What torch.load raises for files that it did not write."""


class WeightsFile(NamedTuple):
    """A file of weights that was read.

    Attributes:
        name: The name of the file, or of the run folder.
        sha256: The SHA-256 of the file, hex.
        tensors: Name -> tensor, on the CPU.
    """

    name: str
    sha256: str
    tensors: dict[str, Tensor]


def read_weights(model: ClassSpec) -> WeightsFile | None:
    """Read the file that a network's initial weights come from.

    Args:
        model: The network, with the digest that the file must have.

    Returns:
        The file; None where the configuration names none.

    Raises:
        ConfigError: The file is missing, or is another file than the configuration names.
        RunFolderError: The file is damaged, or holds other things than tensors.
    """
    if "weights" not in model.options:
        return None
    given = Path(model.options["weights"])
    path = weights_file(given)
    if given.is_dir() and (given / RECORD_FILE).exists():
        check_run_files(given, read_record(given))
    try:
        with open_tensors(path) as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"model.weights={given} cannot be read ({error.strerror}).") from error
    sha256 = hashlib.sha256(content).hexdigest()
    check_digest(model.options, sha256)
    tensors = _safetensors(content, path) if path.suffix == SAFETENSORS else _pickled(content, path)
    if given.is_dir() and path.name != "best.safetensors":
        tensors = _selected(tensors)
    return WeightsFile(given.name, sha256, tensors)


def load_initial(network: nn.Module, file: WeightsFile, is_partial: bool) -> InitialWeights:
    """Copy weights into a network, by name and shape.

    Names of the file may have one prefix in front, such as ``model.`` in run folders; it is found by itself. So may
    names of the network, as where it holds a network of another package in an attribute.

    Args:
        network: Changed in place. What the file lacks stays as it was initialised.
        file: The weights.
        is_partial: Whether the file may lack parameters, or have them in other shapes.

    Returns:
        What matched, what was missing, and what was left over.

    Raises:
        ConfigError: Nothing matches, or no kernel and no matrix; a parameter is missing or has another shape and may
            not; or a weight is not finite.
    """
    own = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    inside, prefix = _prefixes(list(own), file)
    theirs = {inside + name.removeprefix(prefix): name for name in file.tensors if name.startswith(prefix)}
    there = [name for name in own if name in theirs]
    matched = [name for name in there if file.tensors[theirs[name]].shape == own[name].shape]
    used = {theirs[name] for name in matched}
    report = InitialWeights(
        file=file.name,
        sha256=file.sha256,
        prefix=prefix,
        matched=matched,
        missing=[name for name in own if name not in theirs],
        other_shape=[name for name in there if name not in matched],
        left_over=[name for name in file.tensors if name not in used],
    )
    _check(report, own, {name: file.tensors[theirs[name]] for name in there}, is_partial)
    _check_share(report, network, file)
    with torch.no_grad():
        for name in matched:
            own[name].copy_(file.tensors[theirs[name]])
    return report


def format_initial(report: InitialWeights) -> list[str]:
    """Format what was taken from a file of weights, in a few lines."""
    of = len(report.matched) + len(report.missing) + len(report.other_shape)
    under = f'; their names there begin with "{report.prefix}"' if report.prefix else ""
    lines = [
        f"initial weights: {len(report.matched)} of {of} tensors of the network from {report.file} "
        f"(SHA-256 {report.sha256[:12]}){under}"
    ]
    lists = {"not in it": report.missing, "there in another shape": report.other_shape, "not used": report.left_over}
    return lines + [f"  {what}: {_some(names)}" for what, names in lists.items() if names]


def _check(report: InitialWeights, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], is_partial: bool) -> None:
    """Raise ConfigError if the weights may not be used as they are."""
    start = f"model.weights={report.file}"
    shapes = [f"{name} is {tuple(theirs[name].shape)}, not {tuple(own[name].shape)}" for name in report.other_shape]
    if not report.matched:
        what = f"in no tensor: {_some(shapes)}" if shapes else f"in no name: it has {_some(report.left_over)}"
        raise ConfigError(f"{start} and the network agree {what}, where the network has {_some(list(own))}.")
    problems = []
    if shapes and not is_partial:
        problems.append(f"has other shapes than the network: {_some(shapes)}")
    if report.missing and not is_partial:
        problems.append(f"lacks {_some(report.missing)} of the network")
    if problems:
        raise ConfigError(
            f"{start} {' and '.join(problems)}. To take the {len(report.matched)} that match, and leave the others as "
            "they are initialised, set model.weights_partial=true."
        )
    for name in report.matched:
        if theirs[name].is_floating_point() != own[name].is_floating_point():
            raise ConfigError(f"{start}: {name} is {theirs[name].dtype} there, and {own[name].dtype} in the network.")
        if not bool(torch.isfinite(theirs[name]).all()):
            raise ConfigError(f"{start}: {name} holds values that are not finite. Give another file.")


def _check_share(report: InitialWeights, network: nn.Module, file: WeightsFile) -> None:
    """Refuse weights without a kernel or a matrix of the network, and warn where they have less than half of these.

    Vectors match by chance: biases and batch norms of one width are alike in any two networks. What a network has
    learned is in its kernels and matrices, the parameters of two axes or more.

    Raises:
        ConfigError: The network has kernels or matrices, and none of them matched.
    """
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters() if p.dim() > 1}
    taken = shapes.keys() & set(report.matched)
    others = [f"{name} {shape}" for name, shape in shapes.items() if name not in taken]
    theirs = [f"{name} {tuple(tensor.shape)}" for name, tensor in file.tensors.items() if tensor.dim() > 1]
    start = f"model.weights={report.file}"
    if others and not taken:
        raise ConfigError(
            f"{start} has no kernel and no matrix of the network in the same shape: the network has {_some(others)}, "
            f"and the file {_some(theirs)}. Only {_some(report.matched)} would be taken; biases and batch norms of one "
            "width are alike in any two networks. Choose the model that these weights belong to, with its settings, "
            "give another file, or leave out model.weights."
        )
    if len(others) > len(taken):
        log.warning(
            "%s has only %d of the network's %d kernels and matrices in the same shape. The others begin at random: "
            "%s. If that is not what you want, choose the model that these weights belong to, with its settings.",
            start, len(taken), len(shapes), _some(others),
        )  # fmt: skip


def _prefixes(own: Sequence[str], file: WeightsFile) -> tuple[str, str]:
    """The prefix that names have in the network alone, and the one that they have in the file alone.

    Most of the network's tensors must have the former, so that a layer of it is not taken for a whole network.

    Raises:
        ConfigError: Two prefixes of the file match equally well.
    """
    holding = Counter(start for name in own for start in _starts(name))
    best, most = ("", Counter[str]()), 0
    for inside in sorted((start for start, count in holding.items() if 2 * count > len(own)), key=len):
        found = _found({name.removeprefix(inside) for name in own if name.startswith(inside)}, file)
        count = max(found.values(), default=0)
        if count > most and (not inside or 2 * count > len(own)):
            best, most = (inside, found), count
    inside, found = best
    equal = sorted((prefix for prefix, count in found.items() if count == most), key=len)
    if len(equal) > 1 and equal[0]:
        raise ConfigError(
            f"model.weights={file.name} holds the network {len(equal)} times, as "
            f"{' and as '.join(prefix.rstrip('.') for prefix in equal)}. Give a file with one of them."
        )
    return inside, equal[0] if equal else ""


def _found(names: Set[str], file: WeightsFile) -> Counter[str]:
    """How many of the names are in the file, for each prefix there."""
    return Counter(start for theirs in file.tensors for start in _starts(theirs) if theirs.removeprefix(start) in names)


def _starts(name: str) -> list[str]:
    """What may be the prefix of a dotted name: ``""``, ``"a."`` and ``"a.b."`` of ``"a.b.c"``."""
    parts = name.split(".")
    return [".".join([*parts[:count], ""]) if count else "" for count in range(len(parts))]


def _safetensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return dict(sorted(safetensors.torch.load(content).items()))  # which gives them in another order each time
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunFolderError(f"model.weights: {path} is damaged: it is not a safetensors file ({error}).") from error


def _pickled(content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``torch.save`` wrote. Nothing but tensors and plain values is unpickled."""
    if _is_program(content):
        raise RunFolderError(
            f"model.weights: {path} is a program of TorchScript (torch.jit.save), which is not run. Save the network's "
            "state_dict(), best as safetensors."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # what is wrong then is said below
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunFolderError(
            f"model.weights: {path} holds more than tensors and plain values, or is damaged, so it was not read: it "
            "could run code. Save the network's state_dict(), best as safetensors."
        ) from error
    except _DAMAGE as error:
        raise RunFolderError(
            f"model.weights: {path} is not a file of torch.save, or is damaged: torch.load cannot read it "
            f"({type(error).__name__}: {first_line(error)})."
        ) from error
    tensors = {}
    for count, (name, value) in enumerate(_items(saved, path)):
        if count > _MOST_ITEMS:
            raise RunFolderError(f"model.weights: {path} holds more than {_MOST_ITEMS:,} values.")
        if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
            tensors[name] = value
    return tensors


def _is_program(content: bytes) -> bool:
    """Whether a file was written by ``torch.jit.save``, as torch.load finds out too."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except _DAMAGE:
        return False


def _items(value: Any, path: Path, prefix: str = "", level: int = 0) -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything in nested mappings."""
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    if level == _MOST_LEVELS:
        raise RunFolderError(f"model.weights: {path} is nested more than {_MOST_LEVELS} levels deep.")
    for key, item in value.items():
        yield from _items(item, path, f"{prefix}.{key}" if prefix else str(key), level + 1)


def _selected(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a checkpoint that did best on validation; before the first validation, the current ones."""
    first = "best/" if any(name.startswith("best/") for name in tensors) else "weights/"
    return {name.removeprefix(first): t for name, t in tensors.items() if name.startswith(first)}


def _some(names: Sequence[str]) -> str:
    return listed(names, _SHOWN) or "nothing"
