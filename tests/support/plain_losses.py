"""Losses of published learners on one task, in plain operations of torch, with the papers' numbers typed in.

They are written from the papers and the authors' code and share nothing with metaexp: no engine, no network, no
transform. Weights are named as in ``named_parameters()``. A task is (support x, support y, query x, query y).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Task = tuple[Tensor, Tensor, Tensor, Tensor]
CODE_EPS, TORCH_EPS = 1e-3, 1e-5
"""Eps of batch norm in the code of MAML, Reptile and Meta-LSTM, and that of torch."""


def block(
    w: Weights, place: str, x: Tensor, eps: float, padding: int = 1, pool: bool = True, number: str = ""
) -> Tensor:
    """Convolution, batch norm by the statistics of this batch, ReLU, and a maximum of 2x2."""
    conv, norm = f"{place}conv{number}", f"{place}norm{number}"
    x = F.conv2d(x, w[f"{conv}.weight"], w[f"{conv}.bias"], padding=padding)
    centred = x - x.mean((0, 2, 3), keepdim=True)
    x = centred / ((centred**2).mean((0, 2, 3), keepdim=True) + eps).sqrt()
    if f"{norm}.weight" in w:
        x = x * w[f"{norm}.weight"][:, None, None]
    x = (x + w[f"{norm}.bias"][:, None, None]).relu()
    return F.max_pool2d(x, 2) if pool else x


def embed(w: Weights, x: Tensor, eps: float) -> Tensor:
    """Four blocks, flattened."""
    for index in range(4):
        x = block(w, f"model.blocks.{index}.", x, eps)
    return x.flatten(1)


def classify(w: Weights, x: Tensor, eps: float) -> Tensor:
    """Four blocks and a linear layer."""
    return embed(w, x, eps) @ w["model.head.weight"].T + w["model.head.bias"]


def descended(
    w: Weights, names: Sequence[str], loss: Tensor, rates: Sequence[Tensor | float], constant: bool
) -> Weights:
    """One step of gradient descent on ``names``."""
    gradients = torch.autograd.grad(loss, [w[name] for name in names], create_graph=not constant)
    return w | {name: w[name] - rate * g for name, rate, g in zip(names, rates, gradients, strict=True)}


def maml(w: Weights, task: Task, *, per: float, first_order: bool = False, head_only: bool = False) -> Tensor:
    """Finn et al.: five steps at 0.01 on the support loss, which is summed and divided by ``per``, the shots."""
    names = [name for name in w if name.startswith("model.head.") or not (head_only or ".norm." in name)]
    for _ in range(5):
        loss = F.cross_entropy(classify(w, task[0], CODE_EPS), task[1], reduction="sum") / per
        w = descended(w, names, loss, [0.01] * len(names), first_order)
    return F.cross_entropy(classify(w, task[2], CODE_EPS), task[3])


def meta_sgd(w: Weights, task: Task, *, reduction: str) -> Tensor:
    """Li et al.: one step on all weights, each at a learned rate of its own."""
    names = [name for name in w if name.startswith("model.")]
    rates = [w["alphas." + name.removeprefix("model.").replace(".", "/")] for name in names]
    loss = F.cross_entropy(classify(w, task[0], CODE_EPS), task[1], reduction=reduction)
    w = descended(w, names, loss, rates, constant=False)
    return F.cross_entropy(classify(w, task[2], CODE_EPS), task[3])


def maml_plus_plus(w: Weights, task: Task, *, shares: Sequence[float]) -> Tensor:
    """Antoniou et al.: after each of five steps a share of the query loss; rates and norms of each step."""
    norms = {name: p for name, p in w.items() if ".norm." in name}
    names = [name for name in w if name.startswith("model.") and name not in norms]
    total = torch.zeros((), dtype=task[0].dtype)
    for step, share in enumerate(shares):
        w = w | {name: p[step] for name, p in norms.items()}
        loss = F.cross_entropy(classify(w, task[0], TORCH_EPS), task[1])
        w = descended(w, names, loss, list(w["inner_lr"][step]), constant=False)
        total = total + share * F.cross_entropy(classify(w, task[2], TORCH_EPS), task[3])
    return total


def reptile(w: Weights, task: Task, *, beta1: float) -> Tensor:
    """Nichol et al.: half the squared way that eight steps of Adam on batches of ten go."""
    phi = {name: p.detach().clone().requires_grad_() for name, p in w.items()}
    adam = torch.optim.Adam(phi.values(), lr=0.001, betas=(beta1, 0.999))
    for step in range(8):
        batch = (torch.arange(10) + 10 * step) % len(task[1])
        adam.zero_grad()
        F.cross_entropy(classify(phi, task[0][batch], CODE_EPS), task[1][batch]).backward()
        adam.step()
    return sum((((w[name] - phi[name].detach()) ** 2).sum() for name in w), torch.zeros(())) / 2


def meta_lstm(w: Weights, task: Task, *, updates: int, divide: bool) -> Tensor:
    """Ravi & Larochelle: weights are cells of an LSTM, whose inputs are the gradient and the loss."""
    names = [name for name in w if name.startswith("model.")]
    sizes = [w[name].numel() for name in names]

    def learner(flat: Tensor) -> Weights:
        return {name: piece.view(w[name].shape) for name, piece in zip(names, flat.split(sizes), strict=True)}

    def prepared(v: Tensor) -> Tensor:
        small = v.abs() <= math.exp(-10)
        pairs = torch.stack([v.abs().log() / 10, v.sign()]), torch.stack([-torch.ones_like(v), math.exp(10) * v])
        return torch.where(small, pairs[1], pairs[0]).T

    cell = torch.cat([w[name].flatten() for name in names])
    hidden, state = cell.new_zeros(len(cell), 20), cell.new_zeros(len(cell), 20)
    forget, entry = cell.new_zeros(len(cell)), cell.new_zeros(len(cell))
    for _ in range(updates):
        now = {name: p.detach().requires_grad_() for name, p in learner(cell).items()}
        loss = F.cross_entropy(classify(now, task[0], CODE_EPS), task[1])
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [now[name] for name in names])])
        gradient = gradient / (len(task[1]) if divide else 1)
        inputs = torch.cat([prepared(loss.detach().expand(len(cell))), prepared(gradient), hidden], 1)
        a = (inputs @ w["lstm.weight"].T + w["lstm.bias"]).split(20, 1)
        state = a[1].sigmoid() * state + a[0].sigmoid() * a[3].tanh()
        hidden = a[2].sigmoid() * state.tanh()
        forget, entry = (
            torch.cat([hidden, cell[:, None], before[:, None]], 1) @ w["gate_weight"][row] + w["gate_bias"][row]
            for row, before in enumerate((forget, entry))
        )
        cell = forget.sigmoid() * cell - entry.sigmoid() * gradient
    return F.cross_entropy(classify(learner(cell), task[2], CODE_EPS), task[3])


def relation_net(w: Weights, task: Task, *, support_first: bool) -> Tensor:
    """Sung et al.: squared error of the relation between each query and the sum of the maps of each class."""

    def maps(x: Tensor) -> Tensor:
        for index, (padding, pool) in enumerate([(0, True), (0, True), (1, False), (1, False)]):
            x = block(w, f"model.blocks.{index}.", x, TORCH_EPS, padding, pool)
        return x

    support, queries = maps(task[0]), maps(task[2])
    classes = torch.stack([support[task[1] == label].sum(0) for label in range(5)])
    halves = [classes.repeat(len(queries), 1, 1, 1), queries.repeat_interleave(5, 0)]
    x = torch.cat(halves if support_first else halves[::-1], 1)
    for number in ("1", "2"):
        x = block(w, "relation.", x, TORCH_EPS, padding=0, number=number)
    x = (x.flatten(1) @ w["relation.linear1.weight"].T + w["relation.linear1.bias"]).relu()
    scores = (x @ w["relation.linear2.weight"].T + w["relation.linear2.bias"]).sigmoid().view(len(queries), 5)
    return ((scores - F.one_hot(task[3], 5)) ** 2).mean()


def proto_net(w: Weights, task: Task, *, distance: Callable[[Tensor], Tensor]) -> Tensor:
    """Snell et al.: a softmax over minus the squared distances to class means; one batch for support and queries."""
    support, queries = embed(w, torch.cat([task[0], task[2]]), TORCH_EPS).split([len(task[0]), len(task[2])])
    means = torch.stack([support[task[1] == label].mean(0) for label in range(int(task[1].max()) + 1)])
    return F.cross_entropy(-distance(((queries[:, None] - means) ** 2).sum(2)), task[3])


def matching_net(w: Weights, task: Task, *, context: bool, attention: bool = True, dropped: float = 0.1) -> Tensor:
    """Vinyals et al.: minus the log of the attention that falls on the class; without it, the loss of the Lua code.

    With one example of each class the two are the same.
    """
    both = F.dropout(embed(w, torch.cat([task[0], task[2]]), CODE_EPS), dropped)
    support, queries = both.split([len(task[0]), len(task[2])])
    if context:
        support = support + read(w, "forwards", support) + read(w, "backwards", support.flip(0)).flip(0)
        hidden, cell = torch.zeros_like(queries), torch.zeros_like(queries)
        for _ in range(3):
            seen = (hidden @ support.T).softmax(1) @ support
            hidden, cell = lstm(w, "attend", queries, torch.cat([hidden, seen], 1), cell)
            hidden = hidden + queries
        queries = hidden
    cosines = F.cosine_similarity(queries[:, None], support, dim=2)
    labels = F.one_hot(task[1], 5).to(cosines.dtype)
    if not attention:
        return F.cross_entropy(cosines @ labels, task[3])
    return F.nll_loss((cosines.softmax(1) @ labels).log(), task[3])


def lstm(w: Weights, name: str, x: Tensor, recurrent: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: its output and its cell."""
    place = f"context.{name}"
    gates = x @ w[f"{place}.from_input.weight"].T + w[f"{place}.from_input.bias"]
    entry, forget, output, new = (gates + recurrent @ w[f"{place}.from_state.weight"].T).chunk(4, 1)
    cell = forget.sigmoid() * cell + entry.sigmoid() * new.tanh()
    return output.sigmoid() * cell.tanh(), cell


def read(w: Weights, name: str, sequence: Tensor) -> Tensor:
    """The outputs of an LSTM along a sequence."""
    hidden, cell, found = torch.zeros_like(sequence[:1]), torch.zeros_like(sequence[:1]), []
    for x in sequence:
        hidden, cell = lstm(w, name, x[None], hidden, cell)
        found.append(hidden)
    return torch.cat(found)


def classifier(w: Weights, task: Task, *, eps: float = TORCH_EPS, cosine_scale: float | None = None) -> Tensor:
    """Chen et al., and the baselines of Ravi & Larochelle: cross-entropy over all training classes."""
    features = embed(w, task[2], eps)
    if cosine_scale is not None:
        return F.cross_entropy(cosine_scale * F.normalize(features) @ w["head.weight"].T, task[3])
    return F.cross_entropy(features @ w["head.weight"].T + w["head.bias"], task[3])
