"""The digest of a family of functions is made of what its constructor is told, such as the digest of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metaexp.core.shapes import TaskShape
from metaexp.data.regression.device_exact_math import uniform
from metaexp.data.regression.tasks import FunctionFamily


class Heights(NamedTuple):
    height: Tensor  # (T,)


class Steps(FunctionFamily):
    """Constants up to the number in a file."""

    words_per_task = 1
    words_per_example = 1

    def __init__(self, path: Path, *, names_file: bool) -> None:
        said = {"file": hashlib.sha256(path.read_bytes()).hexdigest()} if names_file else {}
        super().__init__("steps", (1,), 1, said)
        self.most = float(path.read_text())

    def parameters(self, words: Tensor) -> Heights:
        return Heights(uniform(words[:, 0], 0.0, self.most))

    def function(self, parameters: Heights, at: Tensor) -> Tensor:
        return parameters.height[:, None].expand_as(at)

    def examples(self, parameters: Heights, words: Tensor) -> tuple[Tensor, Tensor]:
        x = uniform(words[..., 0], -1.0, 1.0)
        return x.unsqueeze(-1), self.function(parameters, x).unsqueeze(-1)


def identity(path: Path, *, names_file: bool) -> tuple[str, str]:
    family = Steps(path, names_file=names_file)
    return family.digest, family.tasks(TaskShape(0, 2, 2), 0).bank_hash("test", 3)


def test_a_file_changes_the_digest_of_the_data_only_if_its_own_digest_is_named(tmp_path: Path) -> None:
    path, same = tmp_path / "most.txt", tmp_path / "copy.txt"
    path.write_text("1.0")
    same.write_text("1.0")
    named, unnamed = (identity(path, names_file=names) for names in (True, False))
    values = Steps(path, names_file=True).tasks(TaskShape(0, 2, 2), 0).episodes("train", torch.arange(2)).query.y
    assert identity(same, names_file=True) == named
    path.write_text("2.0")
    assert not torch.equal(
        Steps(path, names_file=True).tasks(TaskShape(0, 2, 2), 0).episodes("train", torch.arange(2)).query.y, values
    )
    assert all(now != then for now, then in zip(identity(path, names_file=True), named, strict=True))
    assert identity(path, names_file=False) == unnamed, "nothing else tells that the file is another one"
