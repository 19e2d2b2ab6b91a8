"""Errors of the machine, with messages that say what to do about them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from metaexp.core.algorithm import Algorithm
from metaexp.core.disk.errors import explain_disk_error
from metaexp.core.errors import ConfigError, MachineError, MetaexpError, first_line

_OF_OWN_CODE: Final = [
    (
        ("requires_grad_()", "functorch transform"),
        "the algorithm or its network calls requires_grad_(), which torch does not allow for several tasks at once, "
        "nor inside torch.func.grad. Take gradients with torch.func.grad, or set device.task_chunk=1 to take one task "
        "at a time (in a class: let the property vectorises return False).",
    ),
    (
        ("backward() called inside a functorch transform",),
        "the algorithm or its network calls backward(), which torch does not allow for several tasks at once, and "
        "which would add to the gradients of the weights. Take gradients with torch.func.grad or torch.autograd.grad.",
    ),
    (
        ("escaped from inside a function being vmapped",),
        "the algorithm or its network uses a tensor of an earlier task, which it keeps in an attribute or a list. "
        "Each task must be computed by itself: let adapt return what predict needs, and keep what training collects in "
        "a buffer (register_buffer; self.mean = 0.9 * self.mean + 0.1 * new).",
    ),
    (
        ("mutating directly with `.data` inside functorch transform",),
        "the algorithm or its network sets the .data of a tensor, which torch does not allow for several tasks at "
        "once, nor inside torch.func.grad. Compute from new tensors; torch.func.functional_call takes other weights. "
        "torch.compile of a layer whose weights are adapted does this, too: leave it out.",
    ),
    (
        ("backward through the graph a second time",),
        "the algorithm or its network uses a tensor of an earlier step, which it keeps in an attribute or a list. Each "
        "task must be computed by itself: let adapt return what predict needs, and keep nothing else.",
    ),
    (
        ("Cannot access data pointer of Tensor that doesn't have storage",),
        "the algorithm or its network takes the numbers out of a tensor (tensor.numpy(), a compiled function), which "
        "torch does not allow for several tasks at once, nor inside torch.func.grad. Compute with torch's own "
        "functions; no gradient goes through numpy.",
    ),
    (
        ("Maybe you wanted to use the vjp or jacrev APIs",),
        "the algorithm or its network takes the gradient of a loss that is not one number. Let the "
        "loss return a tensor (), such as the mean over the support.",
    ),
    (
        ("to return a Tensor, got",),
        "the algorithm or its network takes the gradient of a loss that is not a tensor. Let the loss return a tensor "
        "(), computed by torch's functions, without .item(), float() or numpy.",
    ),
    (
        ("would mutate a captured Tensor",),
        "the algorithm or its network writes into a tensor that it was given (y.mul_(2), x -= mean), which torch does "
        "not allow inside torch.func.grad. Make new tensors (y = 2 * y).",
    ),
    (
        ("modified by an inplace operation",),
        "the algorithm or its network writes into a tensor that its gradient still needs. Make new tensors (x = x + 1, "
        "not x += 1; no inplace=True), and leave weights as they are while tasks are computed.",
    ),
    (
        ("nference tensor",),
        "the algorithm or its network makes a tensor in torch.inference_mode(), which no gradient can use later. Use "
        "torch.no_grad() there.",
    ),
    (
        ("from user code:", "TORCHDYNAMO"),
        "torch.compile fails in the algorithm or its network. It cannot compile what is called for several tasks at "
        "once or inside torch.func.grad. Leave torch.compile out, or set algorithm.first_order=true if the algorithm "
        "has it and device.task_chunk=1.",
    ),
]
"""Signs of torch's messages about what own code does, and what to do."""


def explained(error: BaseException) -> MetaexpError | None:
    """Return an error that says what the user can do about ``error``; None if there is none."""
    if isinstance(error, MetaexpError):
        return error
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        return MachineError(
            f"out of memory: {first_line(error).rstrip('.')}. Compute fewer tasks at once with device.task_chunk "
            "(8, say; 1 is the least), or lower train.meta_batch_size, which changes the numbers."
        )
    if isinstance(error, OSError) and (of_disk := explain_disk_error(error)) is not None:
        return of_disk
    if "does not have a deterministic implementation" in text:
        return ConfigError(
            f"{first_line(error).rstrip('.')}. Set device.deterministic=false to allow it; "
            "equal runs may then differ in the last bits."
        )
    if "derivative for" in text and "is not implemented" in text:
        return ConfigError(
            f"torch cannot differentiate a layer of the network twice: {first_line(error).rstrip('.')}. Set "
            "algorithm.first_order=true if the algorithm has it. Attention (nn.MultiheadAttention, "
            "nn.TransformerEncoderLayer) has second derivatives inside "
            "`with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):` in the network's forward."
        )
    if _mixes_floats(error):
        return ConfigError(
            "the algorithm or its network computes with float64, and the examples are float32 "
            f"({first_line(error).rstrip('.')}). Leave out .double() and dtype=torch.float64, and convert arrays of "
            "numpy: torch.as_tensor(array, dtype=torch.float32)."
        )
    if (advice := _advice_on_own_code(error)) is not None:
        return ConfigError(advice)
    return None


def _advice_on_own_code(error: BaseException) -> str | None:
    """What an error says about an algorithm or a network of one's own; None if it is not known."""
    if (learner := _predicts_from_nothing(error)) is not None:
        return (
            f"adapt of {learner} returned None, and its predict fails without what adapt learned of the task "
            f"({type(error).__name__}: {first_line(error).rstrip('.')}). Let adapt return what predict needs: a "
            "tensor, or a tuple, list or dict of tensors. Is `return` forgotten?"
        )
    for signs, sentence in _OF_OWN_CODE:
        if all(sign in str(error) for sign in signs):
            return f"{sentence} (torch: {first_line(error).rstrip('.').partition('. ')[0]}.)"
    return None


def _mixes_floats(error: BaseException) -> bool:
    """Whether torch refuses an operation because one tensor is float32 and another is float64."""
    line = first_line(error).lower()
    words = set(re.findall("[a-z0-9]+", line))
    both = {"float", "double"} <= words or {"float32", "float64"} <= words
    return isinstance(error, (RuntimeError, ValueError)) and (both or "mixed dtype (cpu)" in line)


def _predicts_from_nothing(error: BaseException) -> str | None:
    """The class of an algorithm in whose ``predict`` an error was raised that was given None by ``adapt``."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_name == "predict" and code.co_argcount > 1:
            algorithm, adapted = (frame.f_locals.get(name) for name in code.co_varnames[:2])
            if isinstance(algorithm, Algorithm) and adapted is None:
                return type(algorithm).__name__
    return None


@contextmanager
def explain_errors() -> Iterator[None]:
    """Raise errors of the machine from this block with a message that says what to do."""
    try:
        yield
    except Exception as error:
        better = explained(error)
        if better is None or better is error:
            raise
        raise better from error
