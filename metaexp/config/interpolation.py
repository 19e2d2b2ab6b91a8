"""Replaces interpolations (``${task.n_way}``) by their values."""

from __future__ import annotations

from typing import Any, NamedTuple

from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metaexp.config.interpolation_check import expansion_problem, is_refused, resolver_problems
from metaexp.core.errors import ConfigError, first_line


def for_dataset(name: str, value: Any, otherwise: Any, *, _root_: DictConfig) -> Any:
    """Resolve ``${for_dataset:Sinusoid,0.01,0.4}``: 0.01 if the dataset's class is Sinusoid, else 0.4.

    Args:
        name: Name of the class.
        value: The value for this class.
        otherwise: The value for other classes.
        _root_: The whole configuration, which OmegaConf passes.
    """
    target = str(OmegaConf.select(_root_, "dataset._target_", default=""))
    return value if target.rpartition(".")[2] == name else otherwise


def for_regression(value: Any, otherwise: Any, *, _root_: DictConfig) -> Any:
    """Resolve ``${for_regression:0.01,0.4}``: 0.01 where tasks are regression (``task.n_way=0``), else 0.4.

    Args:
        value: The value for regression.
        otherwise: The value for classification.
        _root_: The whole configuration, which OmegaConf passes.
    """
    return value if OmegaConf.select(_root_, "task.n_way", default=None) == 0 else otherwise


OmegaConf.register_new_resolver("for_dataset", for_dataset, replace=True)
OmegaConf.register_new_resolver("for_regression", for_regression, replace=True)


class Resolved(NamedTuple):
    """A configuration as plain nested dicts without interpolations.

    Attributes:
        config: The configuration. A value that could not be resolved stays as written.
        problems: A sentence for each of these.
    """

    config: dict[str, Any]
    problems: list[str]


def resolve_all(config: DictConfig) -> Resolved:
    """Replace every interpolation by its value. One that has none, or may not be read, stays as written.

    Raises:
        ConfigError: The values would expand to more than memory holds.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    written = {str(key): value for key, value in raw.items()}
    bomb = expansion_problem(written)
    if bomb is not None:
        raise ConfigError(bomb)
    problems = resolver_problems(written)
    resolved = _plain(config, raw, "", problems)
    return Resolved({str(key): value for key, value in resolved.items()}, problems)


def _plain(node: Container, raw: Any, path: str, problems: list[str]) -> Any:
    if isinstance(node, ListConfig):
        if node._is_none():
            return None
        return [_child(node, raw, index, f"{path}[{index}]", problems) for index in range(len(node))]
    assert isinstance(node, DictConfig)
    if node._is_none():
        return None
    names = {str(key): key for key in node}
    return {name: _child(node, raw, key, f"{path}.{name}" if path else name, problems) for name, key in names.items()}


def _child(node: Container, raw: Any, key: Any, path: str, problems: list[str]) -> Any:
    if _is_plain(raw[key]):
        return _with_text_keys(raw[key])
    if OmegaConf.is_missing(node, key):
        return "???"
    if is_refused(raw[key], path.partition(".")[0]):
        return raw[key]
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        reason = first_line(error)
        written = raw[key]
        problems.append(f"{path}={written!s} cannot be resolved: {reason}.")
        return written
    return _plain(value, _written(value), path, problems) if isinstance(value, Container) else value


def _is_plain(raw: Any) -> bool:
    """Whether a value as written has nothing to resolve, as most have. OmegaConf takes long to find that out."""
    if isinstance(raw, dict):
        return all(map(_is_plain, raw.values()))
    if isinstance(raw, list):
        return all(map(_is_plain, raw))
    return not isinstance(raw, str) or not ("${" in raw or raw == "???")


def _with_text_keys(raw: Any) -> Any:
    """A plain value, with the keys of its mappings as texts."""
    if isinstance(raw, dict):
        return {str(key): _with_text_keys(value) for key, value in raw.items()}
    return [_with_text_keys(value) for value in raw] if isinstance(raw, list) else raw


def _written(node: Container) -> Any:
    """A container as plain Python, interpolations as written."""
    return OmegaConf.to_container(node, resolve=False)
