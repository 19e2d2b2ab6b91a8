"""Copies a finished run into the documentation, without what belongs to the machine. Without torch."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, MOST_METRICS
from metaexp.results.episodes import EPISODES_FILE
from metaexp.results.evaluations import PUBLISHED_TESTS
from metaexp.results.per_class.files import CLASSES_FILE
from metaexp.results.privacy import clean_config, clean_overrides, clean_text, clean_yaml
from metaexp.results.record import RunRecord, read_record, write_record
from metaexp.results.verdict import with_verdict, without_validation

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
WEIGHTS = ("checkpoints/best.json", "checkpoints/best.safetensors")
"""The selected weights: their manifest and their tensors."""
MOST_BYTES = 1_000_000
"""Larger files of weights are not copied."""
TRAIN_LINES = 500
"""At most this many lines of training metrics are kept in the copy; every validation line is."""


def publish(run: Path, results: Path, name: str | None = None) -> Path:
    """Copy a run folder to ``results/<name>``, in place of an earlier copy.

    The copy holds the record, the configuration, the metrics (thinned), the test episodes, the accuracy of each class
    if it was measured, the figures and the selected weights, if these are smaller than :data:`MOST_BYTES`. So ``metaexp
    evaluate`` takes a copy. Absolute paths are blanked, ``paths`` become relative and the W&B account is left out.
    Published later tests of an earlier copy stay, if its weights are the same.

    Args:
        run: The run folder.
        results: The folder of published runs.
        name: The name of the copy; by default that of the experiment, or of the run, with ``-seed<k>`` behind it
            where a copy with another seed has that name already.

    Returns:
        The new folder.

    Raises:
        RunFolderError: The run is not completed or was not tested, a copy with other settings has its place, or one
            of its files is a link or a special file.
    """
    record = read_record(run)
    if record.status != "completed" or record.test is None:
        how = f"is {record.status}" if record.status != "completed" else "was not tested when it ended"
        raise RunFolderError(f"{run} {how}; only a completed run with a test result can be published.")
    target = results / _checked_name(name or _free_name(record, results), run)
    if target.resolve() == run.resolve():
        raise RunFolderError(f"{run} is in {results} already.")
    if target.is_symlink():
        raise RunFolderError(f"{target} is a link; a copy is never written through one. Remove it, or give --name.")
    files = _files(run)
    if target.exists():
        read_record(target)  # replace nothing but an earlier copy
        files |= _tests_of(target, files.get(WEIGHTS[1]))
        shutil.rmtree(target)
    target.mkdir(parents=True)
    write_record(_cleaned(record), target)
    for place, content in files.items():
        (target / place).parent.mkdir(exist_ok=True)
        write_atomically(target / place, content)
    return target


def _files(run: Path) -> dict[str, bytes]:
    """Place in the copy -> content, of everything but the record. Nothing is read through a link."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "config.yaml": lambda content: clean_yaml(content.decode("utf-8")).encode(),
        "choices.yaml": lambda content: clean_yaml(content.decode("utf-8")).encode(),
        METRICS_FILE: _thinned,
        EPISODES_FILE: lambda content: content,
        CLASSES_FILE: lambda content: content,
    }
    found: dict[str, bytes] = {}
    for name, change in changes.items():
        if not os.path.lexists(run / name):
            continue
        try:
            found[name] = change(read_regular(run / name, MOST_METRICS))
        except (ValueError, TypeError, RecursionError) as error:
            raise RunFolderError(f"{run / name} is damaged ({type(error).__name__}: {error}). Restore it.") from error
    found |= _weights(run)
    plots = run / "plots"
    if plots.is_symlink():
        raise RunFolderError(f"{plots} is a symbolic link, so it was not opened. Replace it by a copy.")
    for figure in sorted(plots.glob("*.png")):
        if not _NAME.fullmatch(figure.name):
            raise RunFolderError(
                f"{plots}: the figure {figure.name!r} cannot stand on a page; a name has letters, digits, dots, dashes "
                "and underscores, and begins with a letter or digit. Rename it."
            )
        found[f"plots/{figure.name}"] = read_regular(figure)
    return found


def _weights(run: Path) -> dict[str, bytes]:
    """The selected weights as they are, whose manifest holds their digest; empty where they are too large."""
    if (run / "checkpoints").is_symlink():
        raise RunFolderError(f"{run / 'checkpoints'} is a symbolic link, so it was not opened. Replace it by a copy.")
    if not all(os.path.lexists(run / name) for name in WEIGHTS):
        return {}
    if (run / WEIGHTS[1]).lstat().st_size > MOST_BYTES:
        return {}
    return {name: read_regular(run / name) for name in WEIGHTS}


def _tests_of(copy: Path, weights: bytes | None) -> dict[str, bytes]:
    """The published later tests of a copy, if they are tests of these weights."""
    if weights is None or not (copy / WEIGHTS[1]).is_file() or read_regular(copy / WEIGHTS[1]) != weights:
        return {}
    if (copy / PUBLISHED_TESTS).is_symlink():
        raise RunFolderError(
            f"{copy / PUBLISHED_TESTS} is a symbolic link, so it was not opened. Replace it by a copy."
        )
    return {f"{PUBLISHED_TESTS}/{path.name}": read_regular(path) for path in (copy / PUBLISHED_TESTS).glob("*")}


def _checked_name(name: str, run: Path) -> str:
    """Check that a name, which may come from a stranger's record, is that of a folder directly in the results."""
    if not _NAME.fullmatch(name):
        raise RunFolderError(
            f"{run}: the copy would be called {name!r}; a name has letters, digits, dots, dashes and underscores, "
            "and begins with a letter or digit. Give the copy a name with --name."
        )
    return name


def _free_name(record: RunRecord, results: Path) -> str:
    """The name of the experiment (of a stand-in: the run); with its seed where another seed was published before."""
    own = record.name if record.is_stand_in else record.experiment or record.name
    name = _checked_name(own, Path(record.name))
    for candidate in (name, f"{name}-seed{record.seed}"):
        if not (results / candidate).exists():
            return candidate
        there = read_record(results / candidate)
        if there.deviations != _cleaned(record).deviations:
            raise RunFolderError(
                f"{results / candidate} is of a run with other changed settings "
                f"({'; '.join(there.deviations) or 'none'}) than this one ({'; '.join(record.deviations) or 'none'}). "
                "Give the copy a name with --name."
            )
        if there.seed == record.seed:
            return candidate
    raise RunFolderError(f"{results / candidate} is not of seed {record.seed}. Give the copy a name with --name.")


def _cleaned(record: RunRecord) -> RunRecord:
    deviations = [clean_text(item) for item in without_validation(record.deviations, record.config)]
    worded = with_verdict(dataclasses.replace(record, deviations=deviations))
    return dataclasses.replace(
        worded,
        config=clean_config(record.config),
        overrides=clean_overrides(record.overrides),
        group=None,
    )


def _thinned(content: bytes) -> bytes:
    """All lines of validation and test, and at most :data:`TRAIN_LINES` evenly spaced lines of training metrics."""
    lines = content.splitlines(keepends=True)
    train = [number for number, line in enumerate(lines) if _only_training(line)]
    every = -(-len(train) // TRAIN_LINES) or 1
    dropped = set(train) - set(train[every - 1 :: every])
    return b"".join(line for number, line in enumerate(lines) if number not in dropped)


def _only_training(line: bytes) -> bool:
    return all(key == "step" or key.startswith("train/") for key in json.loads(line))
