"""Resolves and checks the folders of ``hydra.run.dir`` and ``hydra.sweep.dir``, and refuses keys of the other kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metaexp.config.command_line.override_text import chosen_launcher, key_of, packaged_key
from metaexp.config.interpolation_check import Reference, interpolations, resolver_problems
from metaexp.core.errors import ConfigError, first_line

LEFT_OPEN = "."
"""The value of both keys in the shipped files: metaexp names the folder itself."""

Kind = Literal["run", "sweep"]

_LAUNCHER = "a launcher starts the jobs of a sweep; leave it out, or add -m for a sweep."
_NO_LAUNCHER = (
    "the basic launcher, which is chosen unless you choose another, has no such key. Choose another launcher in the "
    "same command: hydra/launcher=NAME."
)
_OF_THE_OTHER: dict[Kind, dict[str, str]] = {
    "run": {
        "hydra.sweep.dir": "hydra.sweep.dir is the folder of a sweep; give hydra.run.dir, or add -m for a sweep.",
        "hydra/launcher": _LAUNCHER,
        "hydra.launcher": _LAUNCHER,
    },
    "sweep": {"hydra.run.dir": "hydra.run.dir is the folder of a single run; give hydra.sweep.dir."},
}
"""Keys that a run, or a sweep, would ignore without a word."""


class HydraDir(NamedTuple):
    """A folder that a configuration names.

    Attributes:
        path: The folder; None if the configuration leaves it open, or there are problems.
        problems: A sentence for each problem.
    """

    path: Path | None
    problems: list[str]


def read_hydra_dir(kind: Kind, hydra: DictConfig, config: Mapping[str, Any]) -> HydraDir:
    """Resolve ``hydra.run.dir`` or ``hydra.sweep.dir``.

    Args:
        kind: Which of the two.
        hydra: Hydra's part of the configuration.
        config: The rest of it, with all overrides applied, to which interpolations refer.
    """
    written = OmegaConf.to_container(hydra[kind], resolve=False)["dir"]  # type: ignore[call-overload, index]
    key = f"hydra.{kind}.dir"
    if written == LEFT_OPEN:
        return HydraDir(None, [])
    if not str(written).strip() or written == "???":
        return HydraDir(None, [f"{key}={written} names no folder; give one, such as {key}=outputs/mine."])
    problems = resolver_problems({"hydra": {kind: {"dir": written}}})
    if problems:
        return HydraDir(None, problems)
    root = OmegaConf.create({**config, "hydra": OmegaConf.to_container(hydra, resolve=False)})
    try:
        value = str(root.hydra[kind].dir)
    except OmegaConfBaseException as error:
        reason = first_line(error)
        return HydraDir(None, [f"{key}={written} cannot be resolved: {reason}."])
    return HydraDir(Path(value).expanduser(), [])


def read_sweep_dir(hydra: DictConfig, configs: Sequence[Mapping[str, Any]]) -> Path | None:
    """Resolve ``hydra.sweep.dir`` for all jobs of a sweep.

    Args:
        hydra: Hydra's part of the configuration.
        configs: The configuration of each job.

    Raises:
        ConfigError: The folder cannot be resolved, or differs between jobs.
    """
    written = str(OmegaConf.to_container(hydra.sweep, resolve=False)["dir"])  # type: ignore[call-overload, index]
    references = [item for item in interpolations(written) if isinstance(item, Reference)]
    of_all_jobs = any(item.parts[:1] not in (("paths",), ("hydra",)) for item in references)
    found = [read_hydra_dir("sweep", hydra, config) for config in (configs if of_all_jobs else configs[:1])]
    if found[0].problems:
        raise ConfigError(found[0].problems)
    places = list(dict.fromkeys(item.path for item in found))
    if len(places) > 1:
        raise ConfigError(
            f"hydra.sweep.dir={written} is {places[0]} for one job and {places[1]} for another. Leave out "
            "keys that vary; a sweep has one folder."
        )
    return places[0]


def check_hydra_keys(overrides: Sequence[str], kind: Kind, parse: Callable[[str], Override | str]) -> None:
    """Check what the command line says about Hydra's folders and launchers.

    Args:
        overrides: Overrides of the command line.
        kind: What the command starts. Keys of the other kind would be ignored without a word.
        parse: Reads one override.

    Raises:
        ConfigError: A key of the other kind is given, the folder or a key of the launcher has several values, or keys
            of a launcher are given and no launcher is chosen.
    """
    problems = []
    for line in overrides:
        key = key_of(line)
        section = "hydra.launcher" if key.startswith("hydra.launcher.") else key
        own = key == f"hydra.{kind}.dir" or section in ("hydra/launcher", "hydra.launcher")
        parsed = parse(line) if own else packaged_key(line)
        is_basic = section == "hydra/launcher" and chosen_launcher([line]) is None
        if section in _OF_THE_OTHER[kind] and not is_basic:
            problems.append(f"{line}: {_OF_THE_OTHER[kind][section]}")
        elif isinstance(parsed, str):
            problems.append(parsed)
        elif parsed is not None and parsed.is_sweep_override():
            problems.append(f"{line} has several values; give one{' folder' if key.endswith('.dir') else ''}.")
        elif section == "hydra.launcher" and chosen_launcher(overrides) is None:
            problems.append(f"{line}: {_NO_LAUNCHER}")
    if problems:
        raise ConfigError(problems)
