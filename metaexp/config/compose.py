"""Turns YAML files and overrides into checked settings, by Hydra's rules. Torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metaexp.config.check import check
from metaexp.config.command_line.apply import apply
from metaexp.config.command_line.hydra_dirs import LEFT_OPEN, read_hydra_dir, read_sweep_dir
from metaexp.config.command_line.misnamed import format_not_found
from metaexp.config.command_line.override_text import is_of_hydra, key_of, quote_home
from metaexp.config.command_line.overrides import parse, sort_overrides
from metaexp.config.composition_errors import format_in_one_line
from metaexp.config.experiment_header import states_reference
from metaexp.config.hydra_internals import copy_of
from metaexp.config.interpolation import resolve_all
from metaexp.config.loader import make_loader
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.config.untrusted import section_problems
from metaexp.config.yaml_files import dump_yaml
from metaexp.core.errors import ConfigError

version.setbase("1.3")


class _HydraPart(NamedTuple):
    """What is known of Hydra's own part. Most jobs do not need it whole, and unpickling it takes long.

    Attributes:
        whole: The whole configuration, pickled.
    """

    whole: bytes
    choices: dict[str, str]
    problems: list[str]
    leaves_run_dir: bool


@dataclass
class Composed:
    """A configuration as Hydra composed it.

    Attributes:
        config: The job's part.
        part: What is known of Hydra's own part.
        task: The overrides of the job, once they are known.
    """

    config: DictConfig
    part: _HydraPart
    task: list[str] | None = None

    @property
    def choices(self) -> dict[str, str]:
        """Group -> chosen file."""
        return self.part.choices

    @cached_property
    def hydra(self) -> DictConfig:
        """Hydra's own part."""
        hydra: DictConfig = copy_of(self.part.whole).hydra
        if self.task is not None:
            hydra.overrides.task = self.task
        return hydra


_EXPERIMENT = "experiment/"
"""What the paths of experiments begin with."""


class Job(NamedTuple):
    """Settings, and the configuration that they were made from.

    Attributes:
        settings: The checked settings.
        composed: The configuration.
        run_dir: The folder that ``hydra.run.dir`` names; None if it is left open.
    """

    settings: Settings
    composed: Composed
    run_dir: Path | None


class Composer:
    """Composes configurations from the shipped files and the user's own."""

    def __init__(self, config_dir: Path | None = None, config_name: str = "config") -> None:
        """Find the files.

        Args:
            config_dir: The user's folder of groups and files; the shipped ones win over its own.
            config_name: The root file.

        Raises:
            ConfigError: There is no such folder, or one of its files has the name of a shipped one.
        """
        setup_globals()
        JobRuntime().set("name", "metaexp")
        self.config_dir = config_dir
        self.config_name = config_name
        self.loader = make_loader(config_dir)

    def settings(self, overrides: Sequence[str], purpose: Purpose = Purpose.TRAIN) -> Settings:
        """Return the checked settings for these overrides; see :meth:`job`.

        Args:
            overrides: Those of the command line, such as ``seed=1``.
            purpose: What will be done with them.
        """
        return self.job(overrides, purpose).settings

    def job(self, overrides: Sequence[str], purpose: Purpose = Purpose.TRAIN) -> Job:
        """Return the checked settings for these overrides, and the configuration that they were made from.

        Args:
            overrides: The overrides, as given on the command line.
            purpose: What will be done with them.

        Raises:
            ConfigError: An override or the composed configuration is wrong. The message lists all mistakes.
            MachineError: The accelerator is not here.
        """
        if any(key_of(line) == "train.seeds" for line in overrides):
            raise ConfigError(
                "train.seeds stands for several runs, which `metaexp train` and `metaexp plan` take. One run has one "
                "seed, as in seed=3."
            )
        given = sort_overrides(overrides, self.loader)
        try:
            composed = self.compose(given.choices)
        except ConfigError as error:
            raise ConfigError([*given.problems, *error.problems]) from error
        misapplied, absent = apply(given.values, composed.config)
        config, unresolved = resolve_all(composed.config)
        if "debug" in composed.choices:
            _add_debug_tag(config)
        left_open = composed.part.leaves_run_dir
        run_dir, dir_problems = (None, []) if left_open else read_hydra_dir("run", composed.hydra, config)
        settings = check(
            config,
            composed.choices,
            purpose,
            earlier_problems=[
                *given.problems,
                *misapplied,
                *composed.part.problems,
                *unresolved,
                *dir_problems,
            ],
            ignored=given.broken,
        )
        if absent:
            raise ConfigError(absent)
        task = [line for line in overrides if not is_of_hydra(line)]
        return Job(settings, Composed(composed.config, composed.part, task), run_dir)

    def check_hydra(self, overrides: Sequence[str]) -> None:
        """Check what overrides say about Hydra's own section, where nothing else is composed of them.

        Args:
            overrides: The overrides, of which those of other sections are left out.

        Raises:
            ConfigError: One is wrong. The message lists all mistakes.
        """
        given = sort_overrides([line for line in overrides if is_of_hydra(line)], self.loader)
        problems = given.problems or self.compose(given.choices).part.problems
        if problems:
            raise ConfigError(problems)

    def compose(self, overrides: Sequence[str]) -> Composed:
        """Compose a configuration by Hydra's rules, unchecked.

        Raises:
            ConfigError: Hydra cannot compose the configuration.
        """
        try:
            config, (part, shown) = self.loader.compose(self.config_name, list(overrides), _split_off_hydra)
            HydraConfig.instance().cfg = shown
        except (HydraException, OmegaConfBaseException) as error:
            hint = format_not_found(self.loader, error)
            raise ConfigError(format_in_one_line(error, overrides) + (f".{hint}" if hint else "")) from error
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"a configuration file cannot be read: {format_in_one_line(error)}") from error
        return Composed(config, part)

    def sweep_folder(self, overrides: Sequence[str], configs: Sequence[Mapping[str, Any]] = ()) -> Path | None:
        """Return the folder that ``hydra.sweep.dir`` names; None if it is not given.

        Args:
            overrides: Overrides of the command line.
            configs: The configuration of each job, to which interpolations refer; the shipped one if there is none.

        Raises:
            ConfigError: The folder cannot be resolved, or differs between jobs.
        """
        keys = [key_of(line) for line in overrides]
        if "hydra.sweep.dir" not in keys:
            return None
        given = [
            quote_home(line)
            for key, line in zip(keys, overrides, strict=True)
            if key == "hydra.sweep.dir" or key.startswith("paths.")
        ]
        composed = self.compose(given)
        shipped = OmegaConf.to_container(composed.config, resolve=False)
        assert isinstance(shipped, dict)
        return read_sweep_dir(composed.hydra, configs or [{str(key): value for key, value in shipped.items()}])

    def parse(self, line: str) -> Override | str:
        """Read one override. Returns it, or a sentence on why it cannot be read."""
        return parse(line, self.loader)

    def published(self, experiment: str) -> Settings:
        """Return the settings of an experiment's file, without overrides.

        Where it has its reference from another experiment in its defaults, these are the settings of that one: the
        published number was measured with them.
        """
        kept = HydraConfig.instance().cfg
        try:
            settings = self.settings([f"experiment={experiment}"], Purpose.PLAN)
            chosen = [str(file.config_path) for file in self.loader.files]
            names = [path.removeprefix(_EXPERIMENT) for path in chosen if path.startswith(_EXPERIMENT)]
            stating = [name for name in names if states_reference(name, self.config_dir)]
            if settings.reference is None or not stating or stating[-1] == experiment:
                return settings
            return self.settings([f"experiment={stating[-1]}"], Purpose.PLAN)
        finally:
            HydraConfig.instance().cfg = kept

    def groups(self) -> dict[str, list[str]]:
        """Return every group with its choices."""
        names = [name for name in self.loader.list_groups("") if name != "hydra"]
        return {name: choices for name in sorted(names) if (choices := self.loader.get_group_options(name))}


def _add_debug_tag(config: dict[str, Any]) -> None:
    """Give a configuration the tag ``debug`` beside its own. The command's list of tags would replace a preset's."""
    own = config.get("tags") or []
    if isinstance(own, list) and "debug" not in own:
        config["tags"] = [*own, "debug"]


def chosen_files(hydra: DictConfig) -> dict[str, str]:
    """Return group -> chosen file, from Hydra's section."""
    choices = OmegaConf.to_container(hydra.runtime.choices, resolve=False)
    assert isinstance(choices, dict)
    return {str(group): str(name) for group, name in choices.items() if name and "/" not in str(group)}


def hydra_files(composed: Composed) -> dict[str, str]:
    """Return the files that Hydra keeps of a job: path inside the run folder -> text."""
    section = OmegaConf.to_container(composed.hydra, resolve=False, enum_to_str=True)
    assert isinstance(section, dict)
    kept = {key: value for key, value in section.items() if key not in ("help", "hydra_help")}
    return {
        ".hydra/config.yaml": OmegaConf.to_yaml(composed.config),
        ".hydra/hydra.yaml": dump_yaml({"hydra": kept}),
        ".hydra/overrides.yaml": OmegaConf.to_yaml(composed.hydra.overrides.task),
    }


def _split_off_hydra(config: DictConfig, whole: bytes) -> tuple[DictConfig, tuple[_HydraPart, Any]]:
    """The job's own part of a composed configuration, Hydra's part, and what ``${hydra:...}`` refers to."""
    hydra = config.hydra
    left_open = OmegaConf.to_container(hydra.run, resolve=False) == {"dir": LEFT_OPEN}
    part = _HydraPart(whole, chosen_files(hydra), section_problems(hydra), left_open)
    shown = copy_of(whole)
    OmegaConf.set_readonly(shown.hydra, True)
    OmegaConf.clear_cache(config)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return config, (part, shown)
