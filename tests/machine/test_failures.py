"""Errors of the machine become advice; other errors stay what they are."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.attention
from torch import nn

from metaexp.core.errors import ConfigError, DataError, MachineError, MetaexpError
from metaexp.machine.failures import explain_errors, explained

CASES: list[tuple[BaseException, type[MetaexpError], str]] = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nmore"), MachineError, r"CUDA out of memory.*task_chunk"),
    (MemoryError(), MachineError, r"out of memory: MemoryError\. .*task_chunk"),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        MachineError,
        "train.meta_batch_size",
    ),
    (
        OSError(errno.ENOSPC, "No space left on device", "/x/y"),
        MachineError,
        r"the disk is full at /x/y.*paths\.outputs",
    ),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), MachineError, r"the disk is full: Disk quota exceeded"),
    (
        OSError(errno.EROFS, "Read-only file system", "/x/y"),
        MachineError,
        r"/x/y cannot be used: Read-only.*paths\.out",
    ),
    (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x/y"), MachineError, r"/x/y cannot be used: Not a dir"),
    (OSError(errno.EIO, "Input/output error"), MachineError, r"a file cannot be read or written: Input/output error"),
    (
        RuntimeError("put_ does not have a deterministic implementation, but you set 'torch.use_...'\nmore"),
        ConfigError,
        r"put_ does not have.*device\.deterministic=false",
    ),
    (
        NotImplementedError("derivative for aten::_flash_attention_backward is not implemented"),
        ConfigError,
        r"twice: derivative for aten::_flash.*first_order=true.*SDPBackend\.MATH",
    ),
]


@pytest.mark.parametrize(("error", "kind", "words"), CASES)
def test_each_says_what_to_do(error: BaseException, kind: type[MetaexpError], words: str) -> None:
    found = explained(error)
    assert type(found) is kind
    assert re.search(words, str(found))
    assert "\n" not in str(found)


def keep_and_use() -> None:
    kept: list[torch.Tensor] = []

    def task(x: torch.Tensor) -> torch.Tensor:
        kept.append(x * 2)
        return x

    torch.vmap(task)(torch.ones(2))
    kept[0].add(torch.ones(2))


def use_in_two_steps() -> None:
    kept = torch.ones(2, requires_grad=True).exp()
    for _ in range(2):
        kept.square().sum().backward()


def write_into_what_is_needed() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    y += 1
    y.sum().backward()


def set_data() -> None:
    weight = torch.ones(2)

    def task(x: torch.Tensor) -> torch.Tensor:
        x.data = weight
        return x.sum()

    torch.func.grad(task)(torch.ones(2))


def infer() -> torch.Tensor:
    with torch.inference_mode():
        return torch.ones(2) * 2


def mix(layer: Callable[[torch.Tensor], object]) -> Callable[[], object]:
    return lambda: layer(torch.ones(4, 3))


def write_into_labels() -> None:
    y = torch.ones(2)
    torch.func.grad(lambda x: (x - y.mul_(2)).sum())(torch.ones(2))


OF_OWN_CODE = {
    "a gradient of what was inferred": (
        lambda: infer() * torch.ones(2, requires_grad=True),
        "makes a tensor in torch.inference_mode()",
    ),
    "inferred and written": (lambda: infer().add_(1), "makes a tensor in torch.inference_mode()"),
    **{
        f"float64 in {type(layer).__name__}": (
            mix(layer.double()),
            "computes with float64, and the examples are float32",
        )
        for layer in [nn.Linear(3, 2), nn.LSTM(3, 2), nn.BatchNorm1d(3), nn.LayerNorm(3)]
    },
    "float64 in a product": (mix(lambda x: x @ torch.ones(3, dtype=torch.float64)), "computes with float64, and the"),
    "float64 in a convolution": (
        lambda: nn.Conv2d(1, 2, 3).double()(torch.ones(1, 1, 5, 5)),
        "computes with float64, and the examples are float32",
    ),
    "requires_grad_": (
        lambda: torch.vmap(lambda x: x.detach().requires_grad_())(torch.ones(2)),
        "calls requires_grad_",
    ),
    "backward": (
        lambda: torch.func.grad(lambda x: (x.sum().backward(), x.sum())[1])(torch.ones(2)),
        "calls backward()",
    ),
    "kept": (keep_and_use, "uses a tensor of an earlier task"),
    "kept for two steps": (use_in_two_steps, "uses a tensor of an earlier step"),
    "a loss of several numbers": (
        lambda: torch.func.grad(lambda x: x.square())(torch.ones(2)),
        "takes the gradient of a loss that is not one number",
    ),
    "a loss that is a number of Python": (
        lambda: torch.func.grad(lambda x: x.square().item())(torch.tensor(2.0)),
        "takes the gradient of a loss that is not a tensor",
    ),
    "a loss that is None": (
        lambda: torch.func.grad(lambda x: None)(torch.tensor(2.0)),
        "takes the gradient of a loss that is not a tensor",
    ),
    "in place of what was given": (write_into_labels, "writes into a tensor that it was given"),
    "numpy": (
        lambda: torch.vmap(lambda x: torch.from_numpy(x.detach().numpy()))(torch.ones(2)),
        "takes the numbers out of a tensor",
    ),
    "in place": (write_into_what_is_needed, "writes into a tensor that its gradient still needs"),
    "data": (set_data, "sets the .data of a tensor"),
}


@pytest.mark.parametrize(("act", "words"), OF_OWN_CODE.values(), ids=OF_OWN_CODE)
def test_what_torch_says_of_own_code_is_said_in_plain_words(act: Callable[[], object], words: str) -> None:
    """torch itself is asked, so that its words may change."""
    with (
        pytest.raises(ConfigError, match=re.escape(f"the algorithm or its network {words}")) as caught,
        explain_errors(),
    ):
        act()
    assert len(str(caught.value)) < 600


def test_attention_has_second_derivatives_as_the_message_says() -> None:
    def differentiate_twice() -> None:
        x = torch.randn(1, 1, 4, 8, requires_grad=True)
        y = torch.nn.functional.scaled_dot_product_attention(x, x, x).sum()
        (first,) = torch.autograd.grad(y, x, create_graph=True)
        first.square().sum().backward()

    with pytest.raises(ConfigError, match=r"SDPBackend\.MATH"), explain_errors():
        differentiate_twice()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        differentiate_twice()


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EACCES, "Permission denied"), RuntimeError("?")])
def test_others_are_left_alone(error: Exception) -> None:
    assert explained(error) is None
    with pytest.raises(type(error)) as caught, explain_errors():
        raise error
    assert caught.value is error


def test_our_own_errors_pass_unchanged_and_causes_are_kept() -> None:
    ours = DataError("no data")
    with pytest.raises(DataError) as caught, explain_errors():
        raise ours
    assert caught.value is ours
    cause = MemoryError()
    with pytest.raises(MachineError) as machine, explain_errors():
        raise cause
    assert machine.value.__cause__ is cause


def test_a_torch_operation_without_a_deterministic_form_is_recognised() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(ConfigError, match="device.deterministic=false"), explain_errors():
            torch.zeros(3).put_(torch.tensor([0]), torch.ones(1), accumulate=False)
    finally:
        torch.use_deterministic_algorithms(False)
