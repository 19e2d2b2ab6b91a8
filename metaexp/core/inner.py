"""The inner loop: a few steps of gradient descent on one task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.autograd import forward_ad
from torch.func import grad

Params = dict[str, Tensor]
T = TypeVar("T")


def gradient_step(
    loss: Callable[[Params], Tensor],
    params: Params,
    lr: float | Mapping[str, Tensor],
    first_order: bool,
) -> Params:
    """``params - lr * gradient of loss``, differentiable with respect to ``params`` and ``lr``.

    Args:
        loss: a function from parameters to a scalar ().
        params: name -> tensor.
        lr: one number, or one tensor per name that broadcasts against its parameter.
        first_order: whether to treat the gradient as a constant. That leaves second derivatives out of whatever is
            differentiated later (MAML, Finn et al. 2017, section 5.2).

    Returns:
        The new parameters, with the names and shapes of ``params``.
    """
    is_constant = first_order or not torch.is_grad_enabled()
    gradients = constant_gradient(loss, params) if is_constant else grad(loss)(params)
    if isinstance(lr, Mapping):
        return {name: p - lr[name] * gradients[name] for name, p in params.items()}
    return {name: p - lr * gradients[name] for name, p in params.items()}


def constant_gradient(loss: Callable[[Params], Tensor], params: Params) -> Params:
    """The gradient of ``loss`` as a constant, by autograd where no ``torch.func`` transform is at work.

    Plain autograd lets networks use kernels that cannot be differentiated twice, which are faster.

    Args:
        loss: a function from parameters to a scalar ().
        params: name -> tensor.

    Returns:
        name -> gradient, zero where ``loss`` does not depend on a parameter.
    """
    if in_transform():
        return {name: g.detach() for name, g in grad(loss)(params).items()}
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        value = loss(leaves)
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def in_transform() -> bool:
    """Whether ``torch.func`` is at work: vmap over tasks, or an inner gradient."""
    return torch._C._are_functorch_transforms_active()


def in_vmap() -> bool:
    """Whether ``torch.vmap`` is at work, also around an inner gradient."""
    return any(one.key() == TransformType.Vmap for one in get_interpreter_stack() or ())


def in_forward_mode() -> bool:
    """Whether derivatives are taken forwards, as in a product of a Hessian and a vector: ``jvp(grad(loss), ...)``.

    ``torch.func.jvp``, ``jacfwd`` and ``hessian`` enter a level of ``torch.autograd.forward_ad``, and so may own code.
    """
    return forward_ad._current_level >= 0


def descend(
    loss: Callable[[Params], Tensor],
    params: Params,
    lr: float | Mapping[str, Tensor],
    steps: int,
    first_order: bool,
) -> Iterator[Params]:
    """Yield the parameters after 0, 1, ..., ``steps`` gradient steps on the same loss.

    Args:
        loss: The loss () of parameters.
        params: The parameters at the start.
        lr: The learning rate, or one for each parameter, by name.
        steps: How many steps.
        first_order: Whether the gradients are constants for the outer gradient.
    """
    yield params
    for _ in range(steps):
        params = gradient_step(loss, params, lr, first_order)
        yield params


def last(items: Iterable[T]) -> T:
    """Return the last of ``items``, without keeping two of them in memory."""
    iterator = iter(items)
    item = next(iterator)
    for item in iterator:  # noqa: B007 - the last one is wanted
        pass
    return item
