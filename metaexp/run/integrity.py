"""Checks that the files of a run folder are what the run wrote, by the digests that they contain."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from metaexp.config.identity import config_hash, format_changed_keys, has_hash, has_own_classes
from metaexp.config.schema import STAND_IN, mixture_suffix, own_data
from metaexp.core.checkpoint_names import saved_steps, step_name
from metaexp.core.disk.errors import explain_disk_errors
from metaexp.core.disk.files import open_regular, read_regular, refuse_links
from metaexp.core.errors import MachineError, RunFolderError
from metaexp.core.json_lines import METRICS_FILE, read_all_lines, scalars_of_test
from metaexp.results.beginning import NO_NETWORK
from metaexp.results.episodes import EPISODES_FILE, tested_episodes
from metaexp.results.privacy import BLANK
from metaexp.results.reading import format_first_difference
from metaexp.results.record import RECORD_FILE, RunRecord, Score, read_record

_PIECE = 1 << 20
_TAIL = 256
"""How many bytes before the last position are compared again, to notice that the file was cut and then continued."""


class MetricsDigest:
    """The digest of what a run has written to its metrics, extended as the file grows.

    Args:
        path: The file of metrics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._sha256 = hashlib.sha256()
        self._tail = b""

    def of(self, position: int) -> str:
        """Return the SHA-256 (hex) of the first ``position`` bytes. Positions must not decrease.

        Raises:
            MachineError: The file is gone or shorter.
        """
        try:
            with open_regular(self.path) as file:
                file.seek(self._position - len(self._tail))
                intact = position >= self._position and file.read(len(self._tail)) == self._tail
                while (
                    intact
                    and self._position < position
                    and (piece := file.read(min(_PIECE, position - self._position)))
                ):
                    self._sha256.update(piece)
                    self._position += len(piece)
                    self._tail = (self._tail + piece)[-_TAIL:]
        except FileNotFoundError as error:
            raise MachineError(
                f"{self.path} has disappeared while the run was writing to it, so the run was ended. Something else "
                "works in the run folder; start the run again in another place (paths.outputs)."
            ) from error
        if not intact or self._position < position:
            raise MachineError(
                f"{self.path} has lost lines while the run was writing to it, so the run was ended. Something else "
                "works in the run folder; start the run again in another place (paths.outputs)."
            )
        return self._sha256.hexdigest()


def check_metrics(path: Path, position: int, expected: str | None) -> None:
    """Raise RunFolderError when the metrics before a checkpoint were changed.

    Args:
        path: The file of metrics.
        position: How many bytes it had when the checkpoint was saved.
        expected: Their SHA-256 (hex); None in checkpoints of older versions, which are not checked.
    """
    if expected is None or not path.exists() or path.stat().st_size < position:
        return  # a file that is too short is refused where it is opened
    if MetricsDigest(path).of(position) != expected:
        raise RunFolderError(
            f"the first {position} bytes of {path} are not those that the run wrote: the file was changed after the "
            "checkpoint was saved, so the run cannot be continued. Restore the file, or start a new run."
        )


def check_saved_metrics(path: Path, position: int, expected: str | None) -> None:
    """Like :func:`check_metrics`, and raise RunFolderError also when the file is missing or too short."""
    size = path.stat().st_size if path.exists() else 0
    if size < position:
        raise RunFolderError(f"{path} has lost lines: it has {size} bytes, and the run wrote {position} and more.")
    check_metrics(path, position, expected)


@explain_disk_errors()
def checked_metrics(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Read the metrics of a run, and check them against its newest checkpoint and its record.

    Args:
        folder: The run folder, or its published copy, which has the selected weights at most.

    Returns:
        Step and values of every line.

    Raises:
        RunFolderError: Lines are damaged or missing, or were changed after the run.
    """
    path, record = folder / METRICS_FILE, read_record(folder)
    position, expected = _saved_position(folder / "checkpoints")
    check_saved_metrics(path, position, expected)
    size = path.stat().st_size if path.exists() else 0
    lines = read_all_lines(path)
    if any(later < earlier for (earlier, _), (later, _) in pairwise(lines)):
        raise RunFolderError(f"{path} is damaged: its steps go back. Restore it.")
    test = record.test if record.status == "completed" and size else None
    if test is not None and not (lines and _is_test_line(*lines[-1], record, test)):
        raise RunFolderError(
            f"{path} does not end with the test result of {RECORD_FILE}: it lost lines, or was changed."
        )
    return lines


def _is_test_line(step: int, values: Mapping[str, float], record: RunRecord, test: Score) -> bool:
    """Whether a line of metrics is the test result of a record: no checkpoint comes after it and holds its digest."""
    after_steps, further = [after.mean for after in record.after_steps], {s.metric: s.mean for s in record.metrics}
    expected = scalars_of_test(test.metric, test.mean, test.ci95, after_steps, further)
    found = dict(values)
    if math.isnan(found.get("test/ci95", 0.0)):  # of a single episode, in runs of before
        found["test/ci95"] = test.ci95
    return step == record.steps and found == expected


def check_numbers(folder: Path, record: RunRecord) -> None:
    """Check that the metrics and the test episodes of a run are those of its record.

    Args:
        folder: The run folder.
        record: Its record.

    Raises:
        RunFolderError: The metrics or the test episodes are damaged, or were changed after the run.
    """
    checked_metrics(folder)
    episodes = folder / EPISODES_FILE
    if record.test is not None and os.path.lexists(episodes):
        tested_episodes(episodes, record.test, record.test_episodes_sha256)


def _saved_position(checkpoints: Path) -> tuple[int, str | None]:
    """The length and the SHA-256 of the metrics when the newest checkpoint was saved; 0 and None where none says."""
    steps = saved_steps(path.name for path in checkpoints.glob("step_*.json"))
    try:
        values = json.loads(read_regular(checkpoints / f"{step_name(steps[-1])}.json"))["values"]
        position, digest = values["metrics_position"], values.get("metrics_sha256")
    except (IndexError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return 0, None  # no checkpoints, as in a published copy, or a damaged one, which is refused where it is used
    is_known = type(position) is int and isinstance(digest, str)
    return (position, digest) if is_known else (0, None)


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise RunFolderError when ``config.yaml`` or ``choices.yaml`` is not what the record names.

    Args:
        folder: The run folder. Without a record (a run that was killed at once) nothing is compared.
        config: What its ``config.yaml`` holds.
    """
    if not (folder / RECORD_FILE).exists():
        return
    record = read_record(folder)
    check_choices(folder, record)
    expected, found = record.config_hash, config_hash(config)
    if not has_hash(config, expected):
        raise RunFolderError(
            f"the configuration of {folder} changed since the run began: config.yaml has the hash {found[:12]}, and "
            f"record.json names {expected[:12]} ({format_changed_keys(record.config, config)}). Restore config.yaml; "
            "to test with other settings, give them as overrides of metaexp evaluate."
        )


def check_weights(base: Path, values: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise RunFolderError when a file of weights belongs to a run with another configuration.

    Args:
        base: The file, without suffix.
        values: What the file says about its run.
        config: The configuration of the run folder.
    """
    expected, found = config_hash(config), values.get("config_hash", "none")
    if not has_hash(config, found):
        raise RunFolderError(
            f"{base}.json holds weights of another run: its config_hash is {str(found)[:12]}, and this run's is "
            f"{expected[:12]}. Put the run's own file back."
        )


@explain_disk_errors()
def check_run_files(folder: Path, record: RunRecord) -> None:
    """Check that record, configuration and selected weights are of one run, by the hashes that they carry.

    A published copy whose paths were blanked has another hash than its run, so its configuration is not checked.

    Args:
        folder: The run folder, or the file of its record.
        record: What its ``record.json`` holds.

    Raises:
        RunFolderError: A file was changed after the run, or is of another run.
    """
    place = folder if folder.is_dir() else folder.parent
    refuse_links(place)
    check_choices(place, record)
    if BLANK not in str(record.config):
        _check_configurations(place, record)
    _check_best(place / "checkpoints" / "best.json", record)


def _check_configurations(folder: Path, record: RunRecord) -> None:
    path, expected = folder / "config.yaml", record.config_hash
    config = _config_of(path)
    record_is_right = has_hash(record.config, expected)
    if config is not None and record_is_right and not has_hash(config, expected):
        raise RunFolderError(
            f"{path} has the hash {config_hash(config)[:12]}, and config_hash in {RECORD_FILE} is {expected[:12]}: "
            f"it was changed after the run, or is of another one ({format_changed_keys(record.config, config)}). "
            "Restore it, or leave the run out."
        )
    own = has_own_classes(record.config) and (config is None or config_hash(config) == config_hash(record.config))
    if not record_is_right and not own:
        raise RunFolderError(
            f"{folder / RECORD_FILE}: key config has the hash {config_hash(record.config)[:12]}, and config_hash is "
            f"{expected[:12]}: one of them was changed after the run. Restore it, or leave the run out."
        )


def check_choices(folder: Path, record: RunRecord) -> None:
    """Raise RunFolderError when the names in ``choices.yaml`` are not those of the record, or are not all there.

    Args:
        folder: The run folder.
        record: Its record.
    """
    path = folder / "choices.yaml"
    if (choices := _config_of(path)) is None:
        return
    for group in ("algorithm", "model", "dataset", "experiment"):
        name, expected = choices.get(group), getattr(record, group)
        if group == "model" and expected == NO_NETWORK:  # whichever was chosen was not made
            continue
        node = record.config.get(group)
        of_class = str(node.get("_target_")).rpartition(".")[2] if isinstance(node, Mapping) else None
        said = of_class if name is None else str(name)  # of a class for which no file was chosen
        shown = _shown_names(said, record) if group == "dataset" and said is not None else {said}
        if expected not in shown:
            raise RunFolderError(
                f"{path}: {group} is {name or 'not there'}, and in {RECORD_FILE} it is {expected or 'not there'}: one "
                "of them was changed after the run, or cut off. Restore it, or leave the run out."
            )


def _shown_names(choice: str, record: RunRecord) -> set[str]:
    """What a record may call the dataset of a choice: also by the user's own folder or file, and as a stand-in."""
    node = record.config.get("dataset")
    if not isinstance(node, Mapping):
        return {choice}
    target = str(node.get("_target_"))
    if of_it := mixture_suffix(target, node):
        return {choice + of_it}
    own = "-".join([choice, *own_data(target, node)])
    end = " (stand-in)" if node.get(STAND_IN) is True else ""
    return {choice + end, own + end}  # earlier records have not the name of the folder


def _config_of(path: Path) -> Mapping[str, Any] | None:
    """What a file of the configuration holds; None if the folder has none."""
    from metaexp.config.yaml_files import read_mapping  # its imports take longer than the answer to a typo may

    return read_mapping(path) if os.path.lexists(path) else None


def _check_best(path: Path, record: RunRecord) -> None:
    """Check that the selected weights have the hash of the run and its selected step."""
    try:
        values = json.loads(read_regular(path))["values"]
        said = {"config_hash": values["config_hash"], "selected_step": values["step"]}
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunFolderError(f"{path} is damaged ({type(error).__name__}: {error}). Restore it.") from error
    other = format_first_difference(said, record, "there", f"in {RECORD_FILE}")
    if other:
        raise RunFolderError(
            f"{path} holds weights of another run: {other}. Put the run's own file back, or leave the run out."
        )
