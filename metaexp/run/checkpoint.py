"""Checkpoints that survive a kill at any moment: safetensors and JSON, a manifest written last, the last two kept.

Importing this module imports no torch; only tensors need it.

``checkpoints/step_000000200.safetensors`` holds tensors, ``step_000000200.json`` is the manifest: plain values and
the SHA-256 of both. A checkpoint exists once its manifest does; nothing is ever written over the newest good one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from safetensors import SafetensorError

from metaexp.core.checkpoint_names import saved_steps, step_name
from metaexp.core.disk.files import make_folder, open_tensors, read_regular, sync_folder, write_atomically
from metaexp.core.errors import RunFolderError
from metaexp.core.nested import sha256_of
from metaexp.results.checkpoint_values import misfit

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

log = logging.getLogger(__name__)

FORMAT = 1
_MISFITS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RuntimeError)
"""What code raises when it loads a state that is not its own."""


class Checkpoint(NamedTuple):
    """What was saved after ``step`` steps: tensors (on the CPU) by name, and values that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


class DamagedError(RunFolderError):
    """A checkpoint is not what was written."""


class Checkpoints:
    """The checkpoints in one folder.

    Args:
        folder: Made when the first one is saved.
        keep: How many complete ones stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Write a checkpoint, then drop all but the newest ``keep``. An OSError (a full disk) leaves the old ones.

        Args:
            step: Steps done.
            tensors: Tensors by name, on any device.
            values: What else the manifest holds, as JSON.
        """
        make_folder(self.folder)
        write(self.folder / step_name(step), tensors, values)
        for old in self.steps()[: -self.keep]:
            self._drop(old)

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; None if none was ever completed.

        A damaged one is named in the log, and the one before it is taken.

        Raises:
            RunFolderError: There are checkpoints and none is whole, or the folder cannot be read.
        """
        found = self.newest(read)
        return None if found is None else Checkpoint(found[0], *found[1])

    def newest(self, reader: Callable[[Path], T]) -> tuple[int, T] | None:
        """Return the step of the newest checkpoint that is whole, and what ``reader`` reads of it.

        Args:
            reader: :func:`read` or :func:`read_files`.

        Raises:
            RunFolderError: There are checkpoints and none is whole, or the folder cannot be read.
        """
        damage: list[str] = []
        for step in reversed(self.steps()):
            try:
                return step, reader(self.folder / step_name(step))
            except DamagedError as error:
                log.warning("%s The one before it is used.", error)
                damage.append(str(error))
        if damage:
            raise RunFolderError(
                f"no checkpoint in {self.folder} can be used: {' '.join(reversed(damage))} Start a new run."
            )
        return None

    def steps(self) -> list[int]:
        """Return the steps of completed checkpoints, oldest first, whole or not."""
        return saved_steps(self._names())

    def whole_steps(self) -> set[int]:
        """Return the steps that a run can go on from: of whole checkpoints, and 0 where none was dropped yet."""
        found = set() if len(self.steps()) >= self.keep else {0}
        for step in self.steps():
            with suppress(DamagedError):
                read_files(self.folder / step_name(step))
                found.add(step)
        return found

    def drop_after(self, step: int) -> None:
        """Drop the checkpoints of later steps than ``step``."""
        for later in self.steps():
            if later > step:
                self._drop(later)

    def tidy(self) -> None:
        """Remove what a killed process left half-written. Only for the process that has locked the run folder."""
        complete = {step_name(step) for step in self.steps()}
        for name in self._names():
            half_written = name.startswith(".") and name.endswith(".tmp")
            stem, dot, suffix = name.partition(".")
            orphaned = stem.startswith("step_") and suffix == "safetensors" and stem not in complete
            if half_written or (dot and orphaned):
                (self.folder / name).unlink(missing_ok=True)

    def _names(self) -> list[str]:
        """The names in the folder; none if it is not there. Raises RunFolderError when it cannot be read."""
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunFolderError(
                f"{self.folder} cannot be read ({error.strerror}), so nobody knows where the run stopped. Nothing was "
                "changed. Make it readable, or start a new run."
            ) from error

    def _drop(self, step: int) -> None:
        base = self.folder / step_name(step)
        base.with_suffix(".json").unlink(missing_ok=True)
        sync_folder(self.folder)  # never a manifest without its tensors
        base.with_suffix(".safetensors").unlink(missing_ok=True)


def write(base: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write ``base.safetensors``, then its manifest ``base.json``.

    Args:
        base: The path without a suffix.
        tensors: Tensors by name, on any device.
        values: What else the manifest holds, as JSON.
    """
    import safetensors.torch

    write_files(base, safetensors.torch.save(_apart(tensors)), values)


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each in memory of its own, as safetensors asks: a buffer may be part of a parameter."""
    found: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        there = tensor.detach().cpu().contiguous()
        place = there.untyped_storage().data_ptr()
        found[name] = there.clone() if place in places else there
        places.add(place)
    return found


def write_files(base: Path, content: bytes, values: dict[str, Any]) -> None:
    """Like :func:`write`, with the tensors as the bytes of a safetensors file."""
    write_atomically(base.with_suffix(".safetensors"), content)
    manifest = {
        "format": FORMAT,
        "values": values,
        "sha256": {"tensors": hashlib.sha256(content).hexdigest(), "values": sha256_of(values)},
    }
    write_atomically(base.with_suffix(".json"), (json.dumps(manifest, indent=1) + "\n").encode())


def read(base: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the values of a checkpoint.

    Args:
        base: The two files of the checkpoint, without suffix.

    Raises:
        DamagedError: A file is missing, changed or cut short.
    """
    import safetensors.torch

    content, values = read_files(base)
    try:
        return safetensors.torch.load(content), values
    except SafetensorError as error:
        raise DamagedError(
            f"checkpoint {base} is damaged: {base.name}.safetensors cannot be read ({error})."
        ) from error


def read_files(base: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a checkpoint's file of tensors, and its values, both checked. Raises as :func:`read`."""
    manifest_path, tensor_path = base.with_suffix(".json"), base.with_suffix(".safetensors")
    try:
        manifest = json.loads(read_regular(manifest_path))
        form, values, sha256 = manifest["format"], manifest["values"], dict(manifest["sha256"])
        with open_tensors(tensor_path) as file:
            content = file.read()
    except OSError as error:
        why = f"{error.filename or 'a file'} cannot be read ({error.strerror})"
        raise DamagedError(f"checkpoint {base} is damaged: {why}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"checkpoint {base} is damaged: {manifest_path.name} is not a manifest.") from error
    if form != FORMAT:
        raise DamagedError(f"checkpoint {base} has format {form!r}; this version of metaexp reads {FORMAT}.")
    if sha256_of(values) != sha256.get("values"):
        raise DamagedError(f"checkpoint {base} is damaged: the values in {manifest_path.name} were changed.")
    if hashlib.sha256(content).hexdigest() != sha256.get("tensors"):
        raise DamagedError(f"checkpoint {base} is damaged: {tensor_path.name} is not what its manifest says (SHA-256).")
    return content, values


@contextmanager
def explain_misfit(base: Path) -> Iterator[None]:
    """Within this block, raise RunFolderError if what was saved cannot be loaded.

    Args:
        base: The checkpoint's file, without suffix, for the message.
    """
    try:
        yield
    except _MISFITS as error:
        from metaexp.machine.failures import explained  # and torch with it

        if explained(error) is not None:  # out of memory, say
            raise
        raise misfit(base, f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}") from error
