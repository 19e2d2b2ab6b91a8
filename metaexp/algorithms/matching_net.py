"""Matching Networks: a query takes the labels of the support examples that it attends to.

With embeddings f of the query and g of the support,

    a(x, x_i) = softmax over i of cos(f(x), g(x_i)),   P(class n | x) = sum of a(x, x_i) over the support of class n,

and the loss is -log P. Without full context embeddings (FCE), f = g = the network. With them, g reads the whole
support set with a bidirectional LSTM, and f is an LSTM that attends to the support for K steps.

Source: Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, "Matching Networks for One Shot Learning", NeurIPS 2016,
equations 1 and 2; appendix A.1 (f) and A.2 (g). As published, FCE reads the support as a *sequence*: predictions
depend on the order of the support examples. Support sets are shuffled here, so the order says nothing of the class.
Departures: the paper does not say how batch norm is used at test; here as in Prototypical Networks, one batch of
support and queries in training and running averages at test. It does not say where dropout acts either: here on the
embeddings, before FCE.

A cosine is at most 1, and that of embeddings which end in a ReLU is not below 0. So P is at most e / (e + N - 1) for N
classes of one example, and attention stays flat however long one trains. ``exact_cosine=false`` leaves queries at their
own length. That is the default of Meta-Dataset (Triantafillou et al., ICLR 2020), and lets attention become sharp.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fields import Fraction, PositiveInt
from metaexp.core.fit.task_fit import needs_classes
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import Network, has_batch_norm
from metaexp.models.batch_norm import normalise_with


class Memory(NamedTuple):
    """What predictions attend to.

    Attributes:
        support: Embedded support (S, F).
        y: Its labels (S,).
        members: The same one-hot (S, N).
    """

    support: Tensor
    y: Tensor
    members: Tensor


class MatchingNet(Algorithm):
    """Matching Networks, with or without full context embeddings.

    Args:
        model: the network that embeds examples.
        input_shape: the shape of one example, without the batch.
        train_shape: the shape of training tasks.
        fce: whether to embed in the context of the support set.
        fce_steps: K, how often f attends to the support.
        dropout: share of the embedding's entries that are dropped in training.
        batch_norm: ``running``, or ``transductive``: support and queries are each normalised by themselves, in training
            and at test.
        exact_cosine: whether both sides of the similarity have length 1, as published, or the support only.

    Raises:
        ConfigError: Tasks are regression, which has no classes.
    """

    model_output = "embedding"
    fixed_way = False
    is_faster_one_by_one = True
    classes_needed = True

    def __init__(
        self,
        model: Network,
        input_shape: tuple[int, ...],
        train_shape: TaskShape,
        fce: bool,
        fce_steps: PositiveInt,
        dropout: Fraction,
        batch_norm: Literal["running", "transductive"],
        exact_cosine: bool = True,
    ) -> None:
        super().__init__()
        if train_shape.n_way == 0:
            raise ConfigError(needs_classes("algorithm=matching_net"))  # it sums attention over classes
        self.model = model
        self.dropout = dropout
        self.exact_cosine = exact_cosine
        self.normalises_with_batch = batch_norm == "transductive"
        n_features = math.prod(model.feature_shape(input_shape))
        self.context = FullContext(n_features, fce_steps) if fce else None

    @property
    def batch_norm(self) -> Literal["running", "transductive", "none"]:
        if not has_batch_norm(self.model):
            return "none"
        return "transductive" if self.normalises_with_batch else "running"

    @property
    def depends_on_support_order(self) -> bool:
        return self.context is not None

    def adapt(self, support: Examples) -> Memory:
        """The embedded support set and its labels."""
        return self._memory(self._embed(support.x), support)

    def predict(self, adapted: Memory, x: Tensor) -> Tensor:
        """Log-probabilities (M, N) of ``x`` (M, ...)."""
        return self._log_probabilities(adapted, self._embed(x))

    def meta_loss(self, episode: Episode) -> Tensor:
        """The loss () of the queries, which share a batch with the support set unless ``transductive``."""
        if self.normalises_with_batch:
            return super().meta_loss(episode)
        support, query = episode
        embedded = self._embed(torch.cat([support.x, query.x]))  # (S + M, F)
        memory = self._memory(embedded[: len(support.x)], support)
        return self.loss(self._log_probabilities(memory, embedded[len(support.x) :]), query.y)

    def _embed(self, x: Tensor) -> Tensor:
        """Embeddings (B, F); while training, running averages are collected by the network itself."""
        if self.normalises_with_batch:
            with normalise_with("batch"):
                out: Tensor = self.model(x)
        else:
            out = self.model(x)
        return F.dropout(out.flatten(1), self.dropout, self.training)  # (B, F)

    def _memory(self, embedded: Tensor, support: Examples) -> Memory:
        if self.context is not None:
            embedded = self.context.embed_support(embedded)
        return Memory(embedded, support.y, F.one_hot(support.y, support.n_way).to(embedded.dtype))

    def _log_probabilities(self, memory: Memory, embedded: Tensor) -> Tensor:
        """(M, N) from query embeddings (M, F). A class without support gets the smallest probability, not 0."""
        support, y, members = memory
        if self.context is not None:
            embedded = self.context.embed_queries(embedded, support)
        if self.exact_cosine:
            embedded = F.normalize(embedded, dim=1)
        attention = (embedded @ F.normalize(support, dim=1).T).log_softmax(1)  # (M, S), as logarithms
        return _sum_over_classes(attention, y, members)


def _sum_over_classes(attention: Tensor, y: Tensor, members: Tensor) -> Tensor:
    """Log of the attention summed over each class (M, N), from its logarithms (M, S), labels (S,) and (S, N) one-hot.

    The largest of each class is taken out before the sum, so that classes with little attention do not become 0.
    """
    classes = y.expand_as(attention)  # (M, S)
    smallest = attention.new_full((attention.shape[0], members.shape[1]), torch.finfo(attention.dtype).min)
    largest = smallest.scatter_reduce(1, classes, attention.detach(), "amax")  # (M, N)
    total = (attention - largest.gather(1, classes)).exp() @ members
    absent = members.sum(0) == 0  # (N,)
    return (total + absent).log() + largest.masked_fill(absent, math.log(torch.finfo(attention.dtype).tiny))


class FullContext(nn.Module):
    """Full context embeddings: appendix A of Vinyals et al. (2016). n_features: F. steps: K."""

    def __init__(self, n_features: int, steps: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.steps = steps
        self.forwards = LSTMCell(n_features, n_features, n_features)
        self.backwards = LSTMCell(n_features, n_features, n_features)
        self.attend = LSTMCell(n_features, 2 * n_features, n_features)

    def embed_support(self, embedded: Tensor) -> Tensor:
        """g: each of (S, F) plus the states of two LSTMs that arrive at it from either end of the sequence; (S, F)."""
        there = self._read(self.forwards, embedded)
        back = self._read(self.backwards, embedded.flip(0)).flip(0)
        return embedded + there + back

    def embed_queries(self, embedded: Tensor, support: Tensor) -> Tensor:
        """f: K steps of an LSTM that starts from each of (M, F) and reads support (S, F) by attention; (M, F).

        Args:
            embedded: Query embeddings (M, F).
            support: Support embeddings (S, F).
        """
        hidden = torch.zeros_like(embedded)
        cell = torch.zeros_like(embedded)
        for _ in range(self.steps):
            read = (hidden @ support.T).softmax(1) @ support  # (M, F)
            hidden, cell = self.attend(embedded, torch.cat([hidden, read], 1), cell)
            hidden = hidden + embedded
        return hidden

    def _read(self, lstm: LSTMCell, sequence: Tensor) -> Tensor:
        """Hidden states (S, F) of ``lstm`` along ``sequence`` (S, F)."""
        hidden = torch.zeros_like(sequence[:1])
        cell = torch.zeros_like(sequence[:1])
        states = []
        for x in sequence.unsqueeze(1):  # (1, F)
            hidden, cell = lstm(x, hidden, cell)
            states.append(hidden)
        return torch.cat(states)


class LSTMCell(nn.Module):
    """One step of an LSTM, written as matrix products so that it maps over tasks.

    Args:
        n_input: width of the input.
        n_recurrent: width of what is fed back.
        n_hidden: width of the state.
    """

    def __init__(self, n_input: int, n_recurrent: int, n_hidden: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(n_input, 4 * n_hidden)
        self.from_state = nn.Linear(n_recurrent, 4 * n_hidden, bias=False)

    def forward(self, x: Tensor, recurrent: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden state and cell, both (B, n_hidden).

        Args:
            x: The input (B, n_input).
            recurrent: What enters from the step before (B, n_recurrent).
            cell: The cell before (B, n_hidden).
        """
        gates = self.from_input(x) + self.from_state(recurrent)  # (B, 4 * n_hidden)
        entry, forget, output, candidate = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
        return output.sigmoid() * cell.tanh(), cell
