"""Small algorithms: correct ones, and broken ones with one mistake each.

``Gradient`` adapts weights by gradient steps as MAML does, ``Prototypes`` compares with class means as Prototypical
Networks do. The docstring of each other class says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from metaexp.core.algorithm import Algorithm, BatchNormMode
from metaexp.core.errors import ConfigError
from metaexp.core.inner import Params, descend
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import buffers_of, call, has_batch_norm, parameters_of
from metaexp.models.batch_norm import normalise_with

LR = 0.4
STEPS = 2


class Gradient(Algorithm):
    """Correct: second-order gradient steps on all weights, batch norm with the statistics of the batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def batch_norm(self) -> BatchNormMode:
        return "transductive" if has_batch_norm(self.model) else "none"

    @property
    def first_order(self) -> bool:
        return False

    def adapt(self, support: Examples) -> Params:
        return self.path(support)[-1]

    def predict(self, adapted: Params, x: Tensor) -> Tensor:
        return self.scores(adapted, x)

    def adaptation_path(self, support: Examples) -> Iterable[Params]:
        return self.path(support)

    def start(self) -> Params:
        return parameters_of(self.model)

    def path(self, support: Examples, first_order: bool = False) -> list[Params]:
        """Weights after each step."""
        return list(descend(lambda p: self.inner_loss(p, support), self.start(), LR, STEPS, first_order))

    def inner_loss(self, params: Params, support: Examples) -> Tensor:
        return self.loss(self.scores(params, support.x), support.y)

    def scores(self, params: Params, x: Tensor) -> Tensor:
        return call(self.model, params, buffers_of(self.model), x, "batch").values


class Prototypes(Algorithm):
    """Correct: squared distances to class means, batch norm with stored statistics; refuses regression."""

    model_output = "embedding"
    fixed_way = False

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__()
        if train_shape.n_way == 0:
            raise ConfigError("these classify; train.n_way=0 asks for regression.")
        self.model = model

    @property
    def batch_norm(self) -> BatchNormMode:
        return "running" if has_batch_norm(self.model) else "none"

    def adapt(self, support: Examples) -> Tensor:
        return self.means(self.embed(support.x), support)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return self.compare(self.embed(x), adapted)

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        members = F.one_hot(support.y, support.n_way).to(embedded.dtype)
        return (members.T @ embedded) / members.sum(0).unsqueeze(1)

    def embed(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out.flatten(1)

    def compare(self, embedded: Tensor, means: Tensor) -> Tensor:
        return -(embedded.unsqueeze(1) - means).square().sum(2)


class NoisyInTraining(Prototypes):
    """Correct: dropout, only in training."""

    def embed(self, x: Tensor) -> Tensor:
        return F.dropout(super().embed(x), 0.2, self.training)


class TableThatGrows(Prototypes):
    """Correct: a table of positions, not persistent, that is made again for more examples."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.register_buffer("table", torch.arange(1.0), persistent=False)

    def embed(self, x: Tensor) -> Tensor:
        if len(self.table) < len(x):
            self.table = torch.arange(len(x), dtype=x.dtype)
        return super().embed(x) + 0.0 * self.table[: len(x), None]


class CollectsInTraining(Prototypes):
    """Correct: counts training tasks in a buffer, and keeps a mean of them in another."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(()))

    def meta_loss(self, episode: Episode) -> Tensor:
        self.seen += 1
        self.mean = 0.9 * self.mean + 0.1 * episode.support.x.mean().to(self.mean)
        return super().meta_loss(episode)


class ReadsSequences(Prototypes):
    """Correct: a recurrent layer reads the class means. torch.vmap cannot map it, so tasks are taken one at a time."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.reader = nn.GRU(12, 48, batch_first=True)

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        means = super().means(embedded, support)
        read: Tensor = self.reader(means.unflatten(1, (4, 12)))[0]  # (N, 4, F): each mean is a sequence of four parts
        return means + read[:, -1]


class StartsFromMeans(Gradient):
    """Correct: its last layer begins at class means, as Proto-MAML's, and takes gradient steps from there."""

    model_output = "embedding"
    fixed_way = False

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model)
        if train_shape.n_way == 0:
            raise ConfigError("these classify; train.n_way=0 asks for regression.")

    def path(self, support: Examples, first_order: bool = False) -> list[Params]:
        return list(self.states(support, first_order))

    def states(self, support: Examples, first_order: bool = False) -> Iterable[Params]:
        embedded = self.embed(parameters_of(self.model), support.x)
        members = F.one_hot(support.y, support.n_way).to(embedded.dtype)
        means = (members.T @ embedded) / members.sum(0).unsqueeze(1)
        start = {**parameters_of(self.model), "means": means}
        return descend(lambda p: self.inner_loss(p, support), start, LR / 10, STEPS, first_order)

    def scores(self, params: Params, x: Tensor) -> Tensor:
        embedded = self.embed({name: p for name, p in params.items() if name != "means"}, x)
        return -(embedded.unsqueeze(1) - params["means"]).square().sum(2)

    def embed(self, params: Params, x: Tensor) -> Tensor:
        return call(self.model, params, buffers_of(self.model), x, "batch").values.flatten(1)


class StartsFromMeansOneByOne(StartsFromMeans):
    """Correct: the same as a generator, which takes each step when it is asked for the state after it."""

    def adaptation_path(self, support: Examples) -> Iterable[Params]:
        return self.states(support)


class StartsAfterMeans(StartsFromMeans):
    """Its adaptation path begins after the first step, with a layer that has begun at class means."""

    def adaptation_path(self, support: Examples) -> Iterable[Params]:
        return self.path(support)[1:]


class ReadsLabels(Algorithm):
    """Correct: a layer reads each support example with its label beside it, and another one the mean of what it gives.

    Its weights for labels and for scores belong to classes, in the order of the first training task's.
    """

    model_output = "embedding"
    labels_come_first = False

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__()
        self.model, self.n_way = model, train_shape.n_way
        self.reader = nn.Linear(48 + self.n_way, 32)
        self.out = nn.Linear(48 + 32, self.n_way)

    @property
    def batch_norm(self) -> BatchNormMode:
        return "running" if has_batch_norm(self.model) else "none"

    def adapt(self, support: Examples) -> Tensor:
        embedded = self.model(support.x).flatten(1)
        parts = [embedded, F.one_hot(support.y, self.n_way).to(embedded)]
        read: Tensor = self.reader(torch.cat(parts[::-1] if self.labels_come_first else parts, 1)).tanh()
        return read.mean(0)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        embedded = self.model(x).flatten(1)
        scores: Tensor = self.out(torch.cat([embedded, adapted.expand(len(embedded), -1)], 1))
        return scores


class ReadsLabelsFirst(ReadsLabels):
    """Correct: the same with the label in front of the example."""

    labels_come_first = True


class ReadsLabelsAsNumbers(ReadsLabels):
    """Takes the label for a number, so that class 2 is twice class 1."""

    def adapt(self, support: Examples) -> Tensor:
        embedded = self.model(support.x).flatten(1)
        read: Tensor = self.reader(torch.cat([embedded, support.y.unsqueeze(1).repeat(1, self.n_way)], 1)).tanh()
        return read.mean(0)


class CornersForClasses(Prototypes):
    """Correct: ridge regression to the corners of a simplex in N - 1 dimensions, one corner for each class."""

    fixed_way = True
    corners: Tensor

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        n_way = train_shape.n_way
        directions = torch.linalg.eigh(torch.eye(n_way) - 1 / n_way).eigenvectors
        self.register_buffer("corners", directions[:, 1:].contiguous())

    def adapt(self, support: Examples) -> Tensor:
        x = self.embed(support.x)
        gram = x.T @ x + 0.1 * torch.eye(x.shape[1], dtype=x.dtype)
        return torch.linalg.solve(gram, x.T @ self.corners[support.y])

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return self.embed(x) @ adapted @ self.corners.T


class ReadsSupport(ReadsLabels):
    """Correct: the same with two layers on what it has read, which has to learn how to compare a query with it."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.out = nn.Sequential(nn.Linear(48 + 32, 64), nn.Tanh(), nn.Linear(64, self.n_way))  # type: ignore[assignment]


class LineFit(Algorithm):
    """Correct: only regression, by ridge regression on features in closed form."""

    model_output = "embedding"

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__()
        if train_shape.n_way:
            raise ConfigError("this fits numbers; train.n_way must be 0.")
        self.model = model

    @property
    def batch_norm(self) -> BatchNormMode:
        return "running" if has_batch_norm(self.model) else "none"

    def adapt(self, support: Examples) -> Tensor:
        x = self.features(support.x)
        gram = x.T @ x + 0.1 * torch.eye(x.shape[1], dtype=x.dtype)
        return torch.linalg.solve(gram, x.T @ support.y)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return self.features(x) @ adapted

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x).flatten(1)
        return torch.cat([out, torch.ones_like(out[:, :1])], 1)


# ---- the meta-gradient ----


class MissingCreateGraph(Gradient):
    """The inner gradients are constants, although it declares second order."""

    def path(self, support: Examples, first_order: bool = False) -> list[Params]:
        return super().path(support, first_order=True)


class SecondOrderUnclaimed(Gradient):
    """Declares first order and computes second order."""

    @property
    def first_order(self) -> bool:
        return True


class DetachedFastWeights(Gradient):
    """The adapted weights are detached from the initial weights."""

    def adapt(self, support: Examples) -> Params:
        return {name: p.detach() for name, p in super().adapt(support).items()}


class DetachedStart(Gradient):
    """The learned start of one layer is detached, like a cell state that is copied by ``.data``."""

    def start(self) -> Params:
        return {name: p.detach() if "conv" in name else p for name, p in super().start().items()}


class DetachedPrototypes(Prototypes):
    """Class means are constants, so half of the gradient is missing. There is no inner gradient."""

    def adapt(self, support: Examples) -> Tensor:
        return super().adapt(support).detach()


class ScaledByFloat32(Prototypes):
    """Multiplies by a scalar times a matrix without a dtype: torch makes float32 of it."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        scaled = self.log_scale.exp() * torch.eye(support.n_way)
        return scaled.to(embedded) @ super().means(embedded, support)


class RoundedEmbedding(Prototypes):
    """Rounds its features to bfloat16 on the way."""

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        return super().means(embedded.bfloat16().double(), support)


class UnusedHead(Prototypes):
    """A layer that nothing uses."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.projection = nn.Linear(48, 48)


class UnsaidInnerGradient(Gradient):
    """Has inner gradients and declares that it has none."""

    @property
    def first_order(self) -> bool | None:  # type: ignore[override]
        return None


# ---- support and labels ----


class PositionsForLabels(Prototypes):
    """Assumes that the support is ordered by class."""

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        return embedded.unflatten(0, (support.n_way, -1)).mean(1)


class WrongClassSums(Prototypes):
    """Each class gets the mean of its neighbour."""

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        return super().means(embedded, support._replace(y=(support.y + 1) % support.n_way))


class FixedLabelMap(Prototypes):
    """Numbers the classes itself, by the size of their means."""

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        means = super().means(embedded, support)
        return means[means.square().sum(1).argsort()]


class SupportIgnored(Gradient):
    """Predicts with its initial weights."""

    def path(self, support: Examples, first_order: bool = False) -> list[Params]:
        return [self.start()]


class LearnsFromQueries(Gradient):
    """In training, adapts to the queries instead of the support."""

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(Episode(episode.query, episode.query))


class LearnsFromQueriesToo(Prototypes):
    """In training, queries are among the examples that the class means are taken of."""

    def meta_loss(self, episode: Episode) -> Tensor:
        (x, y, n_way), query = episode
        both = Examples(torch.cat([x, query.x]), torch.cat([y, query.y]), n_way)
        return self.loss(self.predict(self.adapt(both), query.x), query.y)


class RootOfLoss(Prototypes):
    """Correct, and its meta-loss is not the sum of a term for each query."""

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(episode).sqrt()


class SumOverQueries(Prototypes):
    """The mean is multiplied by the number of queries in the meta-loss alone."""

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(episode) * len(episode.query.y)


class SumInLoss(Prototypes):
    """The loss itself is a sum."""

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        return super().loss(scores, y) * len(y)


class LearnsFromSupport(Prototypes):
    """In training, predicts the support in the place of the queries."""

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(Episode(episode.support, episode.support))


class SequentialSteps(Gradient):
    """Takes one step for each half of the support and does not declare that the order matters."""

    def path(self, support: Examples, first_order: bool = False) -> list[Params]:
        params = self.start()
        found = [params]
        for x, y in zip(support.x.chunk(2), support.y.chunk(2), strict=True):
            half = Examples(x, y, support.n_way)
            gradients = grad(lambda p, part=half: self.inner_loss(p, part))(params)
            params = {name: p - LR * gradients[name] for name, p in params.items()}
            found.append(params)
        return found


class PositionOfQueries(Prototypes):
    """Expects queries in the order of classes, and helps the class that it expects."""

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        scores = super().predict(adapted, x)
        expected = torch.arange(len(x)) * scores.shape[1] // len(x)
        return scores + F.one_hot(expected, scores.shape[1])


class WrongSign(Gradient):
    """Its loss is lower for wrong answers."""

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        return -super().loss(scores, y)


class NegatedMetaLoss(Prototypes):
    """Trains towards wrong answers, because its meta-loss is negated."""

    def meta_loss(self, episode: Episode) -> Tensor:
        return -super().meta_loss(episode)


# ---- the batch-norm mode ----


class SaysInductive(Prototypes):
    """Normalises queries with each other and declares stored statistics."""

    def embed(self, x: Tensor) -> Tensor:
        with normalise_with("batch"):
            return super().embed(x)


class SaysTransductive(Prototypes):
    """Normalises with stored statistics and declares those of the queries."""

    @property
    def batch_norm(self) -> BatchNormMode:
        return "transductive" if has_batch_norm(self.model) else "none"


class SaysTransductiveAnyway(Gradient):
    """Declares that it is transductive with every network."""

    @property
    def batch_norm(self) -> BatchNormMode:
        return "transductive"


class SaysNothingNormalised(Prototypes):
    """Declares no batch norm, although its network has it."""

    @property
    def batch_norm(self) -> BatchNormMode:
        return "none"


class CentredQueries(Prototypes):
    """Subtracts the mean of the queries and does not declare that they depend on each other."""

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        embedded = self.embed(x)
        return self.compare(embedded - embedded.mean(0), adapted - adapted.mean(0))


class StatisticsUpdatedAtTest(Prototypes):
    """Still collects running statistics at test."""

    def embed(self, x: Tensor) -> Tensor:
        with normalise_with("collect"):
            self.model(x)
        return super().embed(x)


# ---- purity ----


class LastingTableThatGrows(TableThatGrows):
    """The table is saved with the weights, which then have another shape after other tasks."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        del self.table
        self.register_buffer("table", torch.arange(1.0))


class CountsAtTest(CollectsInTraining):
    """Counts test tasks, too."""

    def adapt(self, support: Examples) -> Tensor:
        if not self.training:
            self.seen += 1
        return super().adapt(support)


class PrototypesKept(Prototypes):
    """Stores the class means as an attribute and predicts with them."""

    def adapt(self, support: Examples) -> Tensor:
        self.kept = super().adapt(support)
        return self.kept

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return super().predict(self.kept, x)


class WaySwapped(Prototypes):
    """Stores the ways of the last task as an attribute."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.n_way = train_shape.n_way

    def adapt(self, support: Examples) -> Tensor:
        self.n_way = support.n_way
        return super().adapt(support)


class FastWeightsOnParameters(Gradient):
    """Stores the adapted weights as attributes of the parameters."""

    def adapt(self, support: Examples) -> Params:
        params = super().adapt(support)
        for name, p in self.model.named_parameters():
            p.fast = params[name]  # type: ignore[attr-defined]
        return params


class History(Prototypes):
    """Appends to a list with every task."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.history: list[int] = []

    def adapt(self, support: Examples) -> Tensor:
        self.history.append(len(support.x))
        return super().adapt(support)


class UnresetLSTM(Prototypes):
    """Reads class means with an LSTM whose state is kept from task to task."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.cell = nn.LSTMCell(48, 48)
        self.state: tuple[Tensor, Tensor] | None = None

    def adapt(self, support: Examples) -> Tensor:
        means = super().adapt(support)
        kept = None if self.state is None else (self.state[0][:1].expand_as(means), self.state[1][:1].expand_as(means))
        hidden, cell = self.cell(means, kept)
        self.state = hidden.detach(), cell.detach()
        return means + hidden


class WritesParameters(Gradient):
    """Adapts its own parameters in place."""

    def adapt(self, support: Examples) -> Params:
        params = super().adapt(support)
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.add_(0.01 * (params[name].detach() - p))
        return params


class WritesInputs(Prototypes):
    """Centres the images of the support in place."""

    def adapt(self, support: Examples) -> Tensor:
        support.x.sub_(support.x.mean())
        return super().adapt(support)


class DropoutAtTest(Prototypes):
    """Leaves dropout on at test."""

    def embed(self, x: Tensor) -> Tensor:
        return F.dropout(super().embed(x), 0.1, training=True)


class NumpyNoise(Prototypes):
    """Draws from numpy's global generator."""

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return super().predict(adapted, x) + 1e-3 * float(np.random.rand())


# ---- mapping, shapes, saving ----


class StopsEarly(Gradient):
    """Uses the value of a tensor in an if, which cannot be mapped over tasks."""

    def path(self, support: Examples, first_order: bool = False) -> list[Params]:
        found = super().path(support, first_order)
        return found if self.inner_loss(found[0], support).item() > 0 else found[:1]


class NativeBatchNorm(Gradient):
    """Normalises with torch's own batch norm, whose second derivatives are wrong under torch.vmap."""

    def scores(self, params: Params, x: Tensor) -> Tensor:
        maps = F.conv2d(x, params["conv.weight"], params["conv.bias"], padding=1)
        if "norm.weight" in params:
            for _ in range(2):
                maps = F.batch_norm(maps, None, None, params["norm.weight"], params["norm.bias"], training=True).tanh()
        return F.linear(F.avg_pool2d(maps, 2).flatten(1), params["head.1.weight"], params["head.1.bias"])


class WayHardCoded(Prototypes):
    """Assumes seven classes."""

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        return super().means(embedded, support._replace(n_way=7))


class OneShotOnly(Prototypes):
    """Assumes the shots that it was trained with."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.n_support = train_shape.n_support

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        weights = torch.ones(self.n_support, 1, dtype=embedded.dtype)
        return super().means(embedded * weights, support)


class LostTensor(Prototypes):
    """Uses random weights that are neither parameters nor buffers."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.weights = torch.rand(48)

    def embed(self, x: Tensor) -> Tensor:
        return super().embed(x) * self.weights


class HeadForTraining(Prototypes):
    """Correct: a classifier that only training reads, and says so."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.head = nn.Linear(48, 13)  # the most ways of the checks

    @property
    def only_for_training(self) -> frozenset[str]:
        return frozenset({"head.weight", "head.bias"})

    def meta_loss(self, episode: Episode) -> Tensor:
        x, y, _ = episode.query
        return super().meta_loss(episode) + self.loss(self.head(self.embed(x)), y)


class ForgetsWhatTestsRead(HeadForTraining):
    """Names a weight of its network among those that only training needs."""

    @property
    def only_for_training(self) -> frozenset[str]:
        return super().only_for_training | {next(f"model.{name}" for name, _ in self.model.named_parameters())}


class ForgetsAChoice(HeadForTraining):
    """Names a buffer among the weights that only training needs that decides predictions, and hides that it is NaN."""

    def __init__(self, model: nn.Module, train_shape: TaskShape) -> None:
        super().__init__(model, train_shape)
        self.register_buffer("sign", torch.ones(()))

    @property
    def only_for_training(self) -> frozenset[str]:
        return super().only_for_training | {"sign"}

    def embed(self, x: Tensor) -> Tensor:
        return torch.where(self.sign > 0, super().embed(x), super().embed(x).square())


class ForgetsWhatIsNotThere(HeadForTraining):
    """Has a misspelt name among the weights that only training needs."""

    @property
    def only_for_training(self) -> frozenset[str]:
        return frozenset({"haed.weight"})


class AdaptationPathWithoutEnd(Gradient):
    """Its adaptation path leaves the last step out."""

    def adaptation_path(self, support: Examples) -> Iterable[Params]:
        return self.path(support)[:-1]


class AdaptationPathWithoutStart(Gradient):
    """Its adaptation path begins after the first step."""

    def adaptation_path(self, support: Examples) -> Iterable[Params]:
        return self.path(support)[1:]


class MadeElsewhere(Prototypes):
    """Makes a tensor in the default precision and on the CPU."""

    def means(self, embedded: Tensor, support: Examples) -> Tensor:
        members = torch.eye(support.n_way)[support.y]
        return (members.T @ embedded) / members.sum(0).unsqueeze(1)


class ReturnsTwo(Prototypes):
    """Returns its scores with their spread."""

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        scores = super().predict(adapted, x)
        return scores, scores.std()  # type: ignore[return-value]


class RootOfZero(Prototypes):
    """Its loss is finite, but its gradient is NaN: the derivative of a root at zero."""

    def compare(self, embedded: Tensor, means: Tensor) -> Tensor:
        return super().compare(embedded, means) + (means - means).square().sum(1).sqrt()


class VectorsOnly(Prototypes):
    """Correct: takes feature vectors, but no feature maps."""

    def embed(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        batch, features = out.shape
        return out.view(batch, features)


class RegressionUnrefused(Prototypes):
    """Only classifies, but can be built for regression."""

    def __init__(self, model: nn.Module) -> None:
        Algorithm.__init__(self)
        self.model = model
