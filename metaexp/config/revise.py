"""Applies overrides to the configuration of an earlier run. Torch is not imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metaexp.config.check import check
from metaexp.config.command_line.apply import apply
from metaexp.config.command_line.override_text import key_of
from metaexp.config.command_line.overrides import sort_overrides
from metaexp.config.compose import Composer
from metaexp.config.identity import with_added_keys
from metaexp.config.interpolation import resolve_all
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError

_OF_TRAINING = ("seed", "train", "augment", "optimizer", "schedule", "clip", "tracker", "tags", "notes")


def revise(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    overrides: Sequence[str],
    config_dir: Path | None = None,
    purpose: Purpose = Purpose.TEST,
) -> Settings:
    """Return the settings of an earlier, resolved configuration with some overrides on top.

    A value replaces the earlier one. A choice such as ``dataset=omniglot`` replaces its whole section with that of the
    file; another dataset is read from where METAEXP_DATA says now. Nothing else is read from files, so later edits of
    them change nothing.

    Args:
        config: The earlier configuration.
        choices: Its group -> chosen file.
        overrides: The overrides, as given on the command line.
        config_dir: The user's folder of groups and files.
        purpose: What will be done with the settings.

    Raises:
        ConfigError: The overrides are wrong. The message lists all mistakes.
        MachineError: The accelerator is not here.
    """
    composer = Composer(config_dir)
    given = sort_overrides(overrides, composer.loader)
    fresh = composer.compose(given.choices) if given.choices else None
    new_config, new_choices = with_added_keys(config), dict(choices)
    problems = list(given.problems)
    for line in given.choices:
        group = key_of(line)
        if fresh is not None and group in fresh.config:
            new_config[group] = fresh.config[group]
            new_choices.pop(group, None)
            if group in fresh.choices:  # several trackers are not a single choice
                new_choices[group] = fresh.choices[group]
            if group == "dataset" and "METAEXP_DATA" in os.environ:  # the run may not know where these data are
                new_config["paths"] = fresh.config["paths"]
        else:
            problems.append(f"{line} cannot be chosen for an earlier run, which has its configuration. Remove it.")
    merged = OmegaConf.create(new_config)
    misapplied, absent = apply(given.values, merged)
    resolved, unresolved = resolve_all(merged)
    problems += [*misapplied, *unresolved]
    settings = check(resolved, new_choices, purpose, earlier_problems=problems, ignored=given.broken)
    if absent:
        raise ConfigError(absent)
    return settings


def check_idle(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse overrides of a finished run that would silently do nothing, because they matter for training only.

    Args:
        before: The configuration of the run.
        after: The configuration of another test of the run.

    Raises:
        ConfigError: An override would have no effect. The message has a sentence for each key, such as ``train.steps``.
    """
    found = []
    before, after = with_added_keys(before), with_added_keys(after)
    for section in _OF_TRAINING:
        old, new = before.get(section), after.get(section)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{section}.{key}" for key in {**old, **new} if old.get(key) != new.get(key)]
        elif old != new:
            found.append(section)
    weights = [part.get("eval", {}).get("weights") for part in (before, after)]
    found += ["eval.weights"] * (weights[0] != weights[1])
    nodes = [node if "weights_sha256" in node else {} for node in (before["model"], after["model"])]
    found += ["model.weights"] * (nodes[0].get("weights") != nodes[1].get("weights"))
    if found:
        raise ConfigError(
            [
                f"{key} has no effect on an evaluation: the run is trained already. Remove it, or train again."
                for key in found
            ]
        )
