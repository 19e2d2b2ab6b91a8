"""Tensors in nests of tuples, lists and dicts are mapped and joined, whatever holds them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.types import combine_tensors, map_tensors, mapped_axes


class Pair(NamedTuple):
    x: Tensor
    n_way: int


def nest(value: float) -> dict[str, object]:
    one = torch.tensor([value])
    return {"pair": Pair(one, 5), "list": [one, "text"], "tuple": (one, (one,)), "none": None}


def test_each_tensor_is_mapped_and_the_nest_stays() -> None:
    found = map_tensors(lambda tensor: tensor * 2, nest(1.0))
    assert repr(found) == repr(nest(2.0))
    assert isinstance(found["pair"], Pair)
    assert repr(found) != repr(nest(1.0))


def test_equal_nests_are_joined_tensor_by_tensor() -> None:
    found = combine_tensors(torch.cat, [nest(1.0), nest(2.0)])
    both = torch.tensor([1.0, 2.0])
    assert repr(found) == repr(map_tensors(lambda _: both, nest(0.0)))
    assert isinstance(found["pair"], Pair)
    assert isinstance(found["list"], list)
    assert isinstance(found["tuple"], tuple)


@pytest.mark.parametrize(("keys", "odd"), [(("a", "b"), "b"), (("a",), "c"), ((), "a")])
def test_a_name_that_only_some_tasks_give_is_an_error(keys: tuple[str, ...], odd: str) -> None:
    whole = dict.fromkeys(("a", *(["c"] if odd == "c" else [])), torch.zeros(1))
    other = dict.fromkeys(keys, torch.zeros(1))
    with pytest.raises(ConfigError, match=f"^some tasks of a batch give {odd} and others do not"):
        combine_tensors(torch.stack, [{"nested": whole}, {"nested": other}])
    assert combine_tensors(torch.stack, [{"nested": whole}, {"nested": whole}])["nested"].keys() == whole.keys()


def test_only_tensors_have_an_axis_of_tasks() -> None:
    assert mapped_axes(Pair(torch.zeros(2, 3), 5)) == Pair(0, None)  # type: ignore[arg-type]
    assert mapped_axes((torch.zeros(2), ("text", torch.zeros(2)))) == (0, (None, 0))
