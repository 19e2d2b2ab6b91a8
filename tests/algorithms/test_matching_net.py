import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metaexp.algorithms.matching_net import FullContext, LSTMCell, MatchingNet, Memory, _sum_over_classes
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]


def matching_net(n_way: int = 3, fce: bool = False, dropout: float = 0.0, exact_cosine: bool = True) -> MatchingNet:
    torch.manual_seed(0)
    model = MLP((4,), None, [8, 6], True, True, 1e-3, "default", 0.01)
    return MatchingNet(model, (4,), TaskShape(n_way, 2, 2), fce, 3, dropout, "running", exact_cosine).double()


def copy_to(cell: LSTMCell, weight_ih: torch.Tensor, weight_hh: torch.Tensor, bias: torch.Tensor) -> None:
    """Give ``cell`` the weights of torch's LSTM, whose gates stand in the order i, f, g, o and not i, f, o, g."""

    def reorder(rows: torch.Tensor) -> torch.Tensor:
        i, f, g, o = rows.chunk(4)
        return torch.cat([i, f, o, g])

    with torch.no_grad():
        cell.from_input.weight.copy_(reorder(weight_ih))
        cell.from_input.bias.copy_(reorder(bias))
        cell.from_state.weight.copy_(reorder(weight_hh))


@pytest.mark.parametrize("fce", [False, True])
def test_predictions_are_log_probabilities_summed_over_the_support_of_a_class(make_task: MakeTask, fce: bool) -> None:
    algorithm = matching_net(fce=fce).eval()
    support, query = make_task(k_shot=3)
    scores = algorithm.predict(algorithm.adapt(support), query.x)
    g, f = algorithm.model(support.x), algorithm.model(query.x)
    if algorithm.context is not None:
        g = algorithm.context.embed_support(g)
        f = algorithm.context.embed_queries(f, g)
    attention = torch.cosine_similarity(f[:, None], g, dim=2).softmax(1)
    for n in range(3):
        assert torch.allclose(scores[:, n].exp(), attention[:, support.y == n].sum(1))
        assert not torch.allclose(scores[:, n].exp(), attention[:, support.y == n].mean(1))
    assert torch.allclose(scores.exp().sum(1), torch.ones(6, dtype=torch.float64))


def test_queries_keep_their_length_where_the_cosine_is_not_exact(make_task: MakeTask) -> None:
    algorithm = matching_net(exact_cosine=False).eval()
    support, query = make_task(k_shot=3)
    scores = algorithm.predict(algorithm.adapt(support), query.x)
    f, g = algorithm.model(query.x), algorithm.model(support.x)
    attention = (torch.cosine_similarity(f[:, None], g, dim=2) * f.norm(dim=1, keepdim=True)).softmax(1)
    for n in range(3):
        assert torch.allclose(scores[:, n].exp(), attention[:, support.y == n].sum(1))
    exact = matching_net().eval()
    assert not torch.allclose(scores, exact.predict(exact.adapt(support), query.x))


def test_a_loss_has_a_gradient_where_the_right_class_gets_no_attention(make_task: MakeTask) -> None:
    """As a probability, e to the power of -1000 would be rounded to zero, whose logarithm has no gradient."""
    algorithm = matching_net(exact_cosine=False)
    support = torch.eye(2, dtype=torch.float64)
    embedded = torch.tensor([[1000.0, 0.0]], dtype=torch.float64, requires_grad=True)
    scores = algorithm._log_probabilities(Memory(support, torch.arange(2), support), embedded)
    loss = algorithm.loss(scores, torch.tensor([1]))
    (gradient,) = torch.autograd.grad(loss, embedded)
    assert loss == 1000.0
    assert torch.allclose(gradient, torch.tensor([[1.0, -1.0]], dtype=torch.float64))


@pytest.mark.parametrize("exact_cosine", [True, False])
def test_queries_of_a_class_without_support_have_a_finite_loss(make_task: MakeTask, exact_cosine: bool) -> None:
    """The least number would do for one query: the sum over two is infinite."""
    algorithm = matching_net(exact_cosine=exact_cosine).float().eval()
    support, query = make_task(k_shot=3)
    support = support._replace(x=support.x.float(), y=support.y.clamp_max(1))
    scores = algorithm.predict(algorithm.adapt(support), query.x.float())
    loss = algorithm.loss(scores, torch.full_like(query.y, 2))
    gradients = torch.autograd.grad(loss, list(algorithm.parameters()))
    assert scores.argmax(1).max() < 2
    assert float(loss.detach()) == pytest.approx(-math.log(torch.finfo(torch.float32).tiny), rel=1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_embeddings_of_float32_are_compared_in_bfloat16(make_task: MakeTask) -> None:
    """Those of a network whose last layer autocast leaves in float32."""
    algorithm = matching_net().float().eval()
    support, query = (part._replace(x=part.x.float()) for part in make_task(k_shot=3))
    usual = algorithm.predict(algorithm.adapt(support), query.x)
    embed = algorithm._embed
    algorithm._embed = lambda x: embed(x).float()  # type: ignore[method-assign]
    with torch.autocast("cpu", torch.bfloat16):
        scores = algorithm.predict(algorithm.adapt(support), query.x)
    assert scores.dtype == torch.bfloat16
    assert torch.allclose(scores.float(), usual, atol=0.1)


def test_with_exact_cosines_of_a_relu_no_class_gets_more_than_the_bound() -> None:
    algorithm = matching_net()
    support = torch.eye(5, dtype=torch.float64)
    scores = algorithm._log_probabilities(Memory(support, torch.arange(5), support), 1000.0 * support)
    assert torch.allclose(scores.diagonal().exp(), torch.tensor(math.e / (math.e + 4), dtype=torch.float64))


def test_the_loss_is_minus_the_log_probability_of_the_label(make_task: MakeTask) -> None:
    algorithm = matching_net().eval()
    support, query = make_task()
    scores = algorithm.predict(algorithm.adapt(support), query.x)
    assert torch.allclose(algorithm.loss(scores, query.y), -scores[torch.arange(6), query.y].mean())
    assert not torch.allclose(algorithm.loss(scores + scores, query.y), -2 * scores[torch.arange(6), query.y].mean())


def test_the_cell_equals_torchs() -> None:
    torch.manual_seed(0)
    theirs, ours = nn.LSTMCell(5, 3), LSTMCell(5, 3, 3)
    copy_to(ours, theirs.weight_ih, theirs.weight_hh, theirs.bias_ih + theirs.bias_hh)
    x, hidden, cell = torch.randn(2, 5), torch.randn(2, 3), torch.randn(2, 3)
    for a, b in zip(ours(x, hidden, cell), theirs(x, (hidden, cell)), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
        assert not torch.allclose(a, ours(x, cell, hidden)[0], atol=1e-3)


def test_support_embeddings_add_both_directions_of_torchs_bidirectional_lstm() -> None:
    torch.manual_seed(0)
    theirs, context = nn.LSTM(4, 4, bidirectional=True), FullContext(4, 1)
    for cell, end in ((context.forwards, "l0"), (context.backwards, "l0_reverse")):
        weight_ih, weight_hh = (getattr(theirs, f"{part}_{end}") for part in ("weight_ih", "weight_hh"))
        copy_to(cell, weight_ih, weight_hh, getattr(theirs, f"bias_ih_{end}") + getattr(theirs, f"bias_hh_{end}"))
    support = torch.randn(6, 4)
    there, back = theirs(support)[0].chunk(2, 1)
    assert torch.allclose(context.embed_support(support), support + there + back, atol=1e-6)
    assert not torch.allclose(context.embed_support(support.flip(0)).flip(0), support + there + back, atol=1e-3)


def test_query_embeddings_follow_the_appendix_step_by_step() -> None:
    torch.manual_seed(0)
    context = FullContext(4, 3)
    query, support = torch.randn(4), torch.randn(5, 4)
    hidden, cell = torch.zeros(4), torch.zeros(4)
    for _ in range(3):
        weights = torch.stack([(hidden @ g).exp() for g in support])
        read = sum(w * g for w, g in zip(weights / weights.sum(), support, strict=True))
        recurrent = context.attend.from_state(torch.cat([hidden, read]))
        i, f, o, g = (context.attend.from_input(query) + recurrent).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh() + query
    expected = hidden
    assert torch.allclose(context.embed_queries(query[None], support)[0], expected, atol=1e-6)
    context.steps = 2
    assert not torch.allclose(context.embed_queries(query[None], support)[0], expected, atol=1e-3)


def test_only_full_context_depends_on_the_order_of_the_support() -> None:
    assert matching_net(fce=True).depends_on_support_order
    assert not matching_net(fce=False).depends_on_support_order


def test_embeddings_are_dropped_in_training_alone(make_task: MakeTask) -> None:
    algorithm, episode = matching_net(dropout=0.5), make_task()

    def loss() -> torch.Tensor:
        out: torch.Tensor = functional_call(algorithm, dict(algorithm.named_buffers()), (episode,))
        return out

    algorithm.train()
    assert not torch.equal(loss(), loss())
    algorithm.eval()
    assert torch.equal(loss(), loss())


def test_regression_is_refused_with_the_keys_to_change() -> None:
    with pytest.raises(ConfigError, match=r"train\.n_way=0.*algorithm=maml"):
        matching_net(n_way=0)


@pytest.mark.parametrize("scale", [1.0, 50.0, 1000.0])
def test_attention_is_summed_over_classes_as_logsumexp_does_it(scale: float) -> None:
    """With gradients; the largest scale gives classes that are 0 as probabilities. One class has no support."""
    generator = torch.Generator().manual_seed(0)
    attention = (scale * torch.randn(7, 9, generator=generator, dtype=torch.float64)).log_softmax(1).requires_grad_()
    y = torch.tensor([0, 1, 3, 3, 0, 1, 1, 3, 0])
    labels = F.one_hot(y, 4).double()
    weights = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    masked = attention.unsqueeze(2).masked_fill(labels == 0, -math.inf)  # (7, 9, 4)
    present = [0, 1, 3]
    expected = masked[:, :, present].logsumexp(1)
    found = _sum_over_classes(attention, y, labels)
    torch.testing.assert_close(found[:, present], expected)
    assert found[:, 2].tolist() == [math.log(torch.finfo(torch.float64).tiny)] * 7
    wanted, got = (
        torch.autograd.grad((values * weights[:, columns]).sum(), attention)[0]
        for values, columns in ((expected, present), (found, [0, 1, 2, 3]))
    )
    torch.testing.assert_close(got, wanted)
    other = _sum_over_classes(attention, y.roll(1), labels.roll(1, 0))  # the labels of other examples
    assert not torch.allclose(other[:, present], expected)
    if scale == 1000.0:
        assert (expected.exp() == 0).any()
