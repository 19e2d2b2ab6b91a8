"""Takes the inner steps with this package, or with learn2learn's wrappers, as an independent comparison.

``algorithm.engine=learn2learn`` runs the same experiment, with the same tasks, weights, optimiser and records, whose
inner loops are those of ``learn2learn.algorithms.MAML`` and ``MetaSGD`` (Arnold et al., "learn2learn: A Library for
Meta-Learning Research", 2020). They cannot be mapped over tasks, so tasks are computed one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.inner import Params, descend
from metaexp.engines.learn2learn import import_learn2learn

Engine = Literal["metaexp", "learn2learn"]


class Descend(Protocol):
    """Takes gradient steps as :func:`metaexp.core.inner.descend` does."""

    def __call__(
        self,
        loss: Callable[[Params], Tensor],
        params: Params,
        lr: float | Mapping[str, Tensor],
        steps: int,
        first_order: bool,
    ) -> Iterator[Params]:
        """Take ``steps`` steps; see :func:`metaexp.core.inner.descend`."""


def descent(engine: Engine) -> Descend:
    """The inner loop of ``engine``.

    Args:
        engine: which implementation takes the inner steps.

    Returns:
        A function that takes gradient steps as :func:`metaexp.core.inner.descend` does.

    Raises:
        ConfigError: learn2learn cannot be imported; the message says how to install it.
    """
    if engine == "metaexp":
        return descend
    try:
        import_learn2learn()
    except ConfigError as error:
        raise ConfigError(
            f"algorithm.engine=learn2learn: {error} Or choose algorithm.engine=metaexp."
        ) from error.__cause__
    return descend_by_learn2learn


def descend_by_learn2learn(
    loss: Callable[[Params], Tensor],
    params: Params,
    lr: float | Mapping[str, Tensor],
    steps: int,
    first_order: bool,
) -> Iterator[Params]:
    """Yield the parameters after 0, 1, ..., ``steps`` steps of learn2learn's MAML, or MetaSGD if ``lr`` is a mapping.

    As :func:`metaexp.core.inner.descend`, for ``params`` of one task that autograd reaches. Under ``torch.no_grad``
    the steps are still taken, and their results are detached.

    Args:
        loss: The loss () of parameters.
        params: The parameters at the start.
        lr: The learning rate, or one for each parameter, by name.
        steps: How many steps.
        first_order: Whether the gradients are constants for the outer gradient.
    """
    algorithms = import_learn2learn().algorithms
    keeps_graph = torch.is_grad_enabled()
    leaves_out_second_order = first_order or not keeps_graph  # the same numbers
    task = _SupportLoss(loss, params)
    with torch.enable_grad():
        if isinstance(lr, Mapping):
            rates = nn.ParameterList([lr[name] for name in params])
            wrapper = algorithms.MetaSGD(task, lrs=rates, first_order=leaves_out_second_order)
        else:
            wrapper = algorithms.MAML(task, lr=lr, first_order=leaves_out_second_order)
        learner = wrapper.clone()
    yield params
    for _ in range(steps):
        with torch.enable_grad():
            learner.adapt(learner())
        found = learner.module.params()
        yield found if keeps_graph else {name: p.detach() for name, p in found.items()}


class _SupportLoss(nn.Module):
    """The support loss of a task, as a module whose parameters are those that adapt: what the wrappers take."""

    def __init__(self, loss: Callable[[Params], Tensor], params: Params) -> None:
        super().__init__()
        self.loss = loss
        self.names = list(params)
        self.values = nn.ParameterList(params.values())

    def params(self) -> Params:
        """The parameters by name, as they are now."""
        return dict(zip(self.names, self.values, strict=True))

    def forward(self) -> Tensor:
        return self.loss(self.params())
