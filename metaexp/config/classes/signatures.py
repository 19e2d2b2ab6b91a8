"""Reads constructors from source: what each argument may be. Nothing is imported.

So a constructor's annotations are the schema of its YAML file: ``inner_lr: PositiveFloat``,
``adapt: Literal["all", "head"]``, ``hidden: list[PositiveInt]``, ``threshold: PositiveFloat | None``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import NamedTuple

from metaexp.config.classes.source import Alias, ClassSource, Module, Scope, lineage
from metaexp.config.classes.values import (
    Anything,
    FixedSequence,
    Flag,
    Kind,
    NamedClass,
    Null,
    Number,
    Object,
    OneOf,
    Sequence,
    Table,
    Text,
    named_number,
    union,
)

_BUILTINS: dict[str, Kind] = {
    "int": Number(int),
    "float": Number(float),
    "bool": Flag(),
    "str": Text(),
    "pathlib.Path": Text(),
}
_LISTS = {"list", "collections.abc.Sequence", "typing.Sequence", "typing.List"}
_TABLES = {"dict", "collections.abc.Mapping", "typing.Mapping", "typing.Dict"}

_TORCH_OPTIM_KINDS: dict[str, Kind] = {
    # torch.optim's annotations carry no ranges; these are what its constructors require.
    "lr": Number(float, ">= 0"),
    "eps": Number(float, ">= 0"),
    "weight_decay": Number(float, ">= 0"),
    "momentum": Number(float, ">= 0"),
    "betas": FixedSequence((Number(float, ">= 0 and < 1"), Number(float, ">= 0 and < 1"))),
    "rho": Number(float, "between 0 and 1"),
    "alpha": Number(float, ">= 0"),
    "lr_decay": Number(float, ">= 0"),
    "momentum_decay": Number(float, ">= 0"),
    "initial_accumulator_value": Number(float, ">= 0"),
}


NO_DEFAULT = object()
"""The default of an argument that must be given, or whose default is not written as a plain value."""


@dataclass(frozen=True)
class Argument:
    """A constructor argument.

    Attributes:
        name: Its name.
        kind: What it may be.
        required: Whether it must be given.
        default: Its default; NO_DEFAULT where it has none, or one that is not written as a plain value.
    """

    name: str
    kind: Kind
    required: bool
    default: object = NO_DEFAULT


class Constructor(NamedTuple):
    """The arguments of a constructor.

    Attributes:
        arguments: All but ``self``.
        takes_more: Whether it takes any other argument, too (``**kwargs``).
    """

    arguments: tuple[Argument, ...]
    takes_more: bool


def constructor(source: ClassSource) -> Constructor:
    """Return the constructor of a class, or the one that it inherits. It is read once, as the module is."""
    made = source.module.made
    if source.node not in made:
        made[source.node] = _constructor(source)
    found: Constructor = made[source.node]
    return found


def _constructor(source: ClassSource) -> Constructor:
    for ancestor in lineage(source):
        if _is_dataclass(ancestor):
            return Constructor(tuple(_dataclass_fields(source)), False)
        for statement in ancestor.node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return _parameters(ancestor, statement)
    return Constructor((), False)


def kind_of(module: Module | None, annotation: ast.expr | None) -> Kind:
    """Return the values that an annotation allows.

    Args:
        module: The module that the annotation is written in.
        annotation: The annotation; None where there is none, which allows anything.
    """
    if annotation is None:
        return Anything()
    if isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            return kind_of(module, ast.parse(annotation.value, mode="eval").body)
        return Null() if annotation.value is None else Anything()
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return union([kind_of(module, annotation.left), kind_of(module, annotation.right)])
    if isinstance(annotation, ast.Subscript):
        return _generic(module, annotation)
    origin = Scope(module).locate_node(annotation)
    if isinstance(origin, ClassSource):
        return Object(origin.path)
    if isinstance(origin, Alias):
        is_field = origin.module.name == "metaexp.core.fields"
        return (_field(origin.name) if is_field else None) or kind_of(origin.module, origin.value)
    return _plain(origin)


def _field(name: str) -> Kind | None:
    """The kind of an annotation of metaexp.core.fields; None for others."""
    return NamedClass() if name == "ClassPath" else named_number(name)


def _plain(origin: str | None) -> Kind:
    if origin in _BUILTINS:
        return _BUILTINS[origin]
    if origin in _LISTS or origin == "tuple":
        return Sequence(Anything())
    return Table(Anything()) if origin in _TABLES else Anything()


def _generic(module: Module | None, annotation: ast.Subscript) -> Kind:
    """list[X], tuple[X, Y], dict[str, X], Literal[...], Optional[X], Union[X, Y], Annotated[X, ...]."""
    origin = Scope(module).locate_node(annotation.value)
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if origin == "typing.Literal":
        return OneOf(tuple(ast.literal_eval(item) for item in inner))
    if origin in ("typing.Annotated", "typing.Final"):
        return kind_of(module, inner[0])
    kinds = [kind_of(module, item) for item in inner if not _is_ellipsis(item)]
    if origin == "typing.Optional":
        return union([*kinds, Null()])
    if origin == "typing.Union":
        return union(kinds)
    if origin in _LISTS or (origin == "tuple" and len(kinds) < len(inner)):
        return Sequence(kinds[0])
    if origin == "tuple":
        return FixedSequence(tuple(kinds))
    return Table(kinds[-1]) if origin in _TABLES else Anything()


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _parameters(source: ClassSource, function: ast.FunctionDef) -> Constructor:
    signature = function.args
    positional = [*signature.posonlyargs, *signature.args][1:]
    defaults = [None] * (len(positional) - len(signature.defaults)) + list(signature.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(signature.kwonlyargs, signature.kw_defaults, strict=True)]
    return Constructor(tuple(_argument(source, *pair) for pair in pairs), signature.kwarg is not None)


def _argument(source: ClassSource, node: ast.arg, default: ast.expr | None) -> Argument:
    of_torch = source.module.name.startswith("torch.optim.") and node.arg in _TORCH_OPTIM_KINDS
    kind = _TORCH_OPTIM_KINDS[node.arg] if of_torch else kind_of(source.module, node.annotation)
    return Argument(node.arg, kind, default is None, _plain_value(default))


def _plain_value(default: ast.expr | None) -> object:
    try:
        return NO_DEFAULT if default is None else ast.literal_eval(default)
    except ValueError:
        return NO_DEFAULT


def _is_dataclass(source: ClassSource) -> bool:
    for decorator in source.node.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        if Scope(source.module).locate_node(node) == "dataclasses.dataclass":
            return True
    return False


def _dataclass_fields(source: ClassSource) -> list[Argument]:
    """Fields of a dataclass and of the dataclasses it derives from, those of the bases first."""
    fields: dict[str, Argument] = {}
    for ancestor in reversed(lineage(source)):
        if not _is_dataclass(ancestor):
            continue
        for statement in ancestor.node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if isinstance(statement.annotation, ast.Subscript) and _is_class_variable(ancestor, statement.annotation):
                continue
            name = statement.target.id
            fields[name] = Argument(
                name, kind_of(ancestor.module, statement.annotation), not _has_default(statement.value)
            )
    return list(fields.values())


def _is_class_variable(source: ClassSource, annotation: ast.Subscript) -> bool:
    return Scope(source.module).locate_node(annotation.value) == "typing.ClassVar"


def _has_default(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and getattr(value.func, "id", getattr(value.func, "attr", "")) == "field":
        return any(keyword.arg in ("default", "default_factory") for keyword in value.keywords)
    return value is not None
