from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metaexp.algorithms.maml import MAML
from metaexp.core.errors import ConfigError
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples
from metaexp.models.lstm import LSTM

TORCH_ORDER = {"input": 0, "forget": 1, "candidate": 2, "output": 3}  # of the gates in nn.LSTM's weights
OUR_ORDER = ("input", "forget", "output", "candidate")


def lstm(
    shape: tuple[int, ...] = (6, 3),
    layers: int = 1,
    reading: Literal["last", "mean"] = "last",
    n_outputs: int | None = 4,
) -> LSTM:
    torch.manual_seed(0)
    return LSTM(shape, n_outputs, 5, layers, reading, 1.0).double()


def as_torch(network: LSTM, order: tuple[str, ...] = OUR_ORDER) -> nn.LSTM:
    """torch's own LSTM with the weights of ``network``, whose gates stand in ``order``."""
    size = network.layers[0].weight_input.shape[1]
    other = nn.LSTM(size, network.n_features, len(network.layers), batch_first=True).double()
    with torch.no_grad():
        for i, layer in enumerate(network.layers):
            for theirs, ours in {"weight_ih": "weight_input", "weight_hh": "weight_hidden", "bias_ih": "bias"}.items():
                blocks = dict(zip(order, getattr(layer, ours).chunk(4), strict=True))
                getattr(other, f"{theirs}_l{i}").copy_(torch.cat([blocks[name] for name in sorted(order, key=rank)]))
            getattr(other, f"bias_hh_l{i}").zero_()
    return other


def rank(gate: str) -> int:
    return TORCH_ORDER[gate]


@pytest.mark.parametrize("layers", [1, 3])
def test_it_equals_torchs_own_lstm_with_the_same_weights(layers: int) -> None:
    network = lstm(layers=layers)
    for layer in network.layers:
        nn.init.uniform_(layer.bias)
    x = torch.randn(7, 6, 3).double()
    hidden, _ = as_torch(network)(x)
    assert torch.allclose(network.features(x), hidden[:, -1], atol=1e-12)
    assert torch.allclose(network(x), network.head(hidden[:, -1]), atol=1e-12)
    swapped, _ = as_torch(network, ("input", "forget", "candidate", "output"))(x)
    assert not torch.allclose(network.features(x), swapped[:, -1], atol=1e-3)


def test_it_reads_the_last_state_or_the_mean_over_time() -> None:
    x = torch.randn(7, 6, 3).double()
    hidden, _ = as_torch(lstm())(x)
    assert torch.allclose(lstm(reading="last").features(x), hidden[:, -1])
    assert torch.allclose(lstm(reading="mean").features(x), hidden.mean(1))
    assert not torch.allclose(hidden[:, -1], hidden.mean(1), atol=1e-2)


def test_an_image_is_the_sequence_of_its_rows_from_the_top() -> None:
    network = lstm((2, 4, 3))
    images = torch.randn(5, 2, 4, 3).double()
    rows = torch.stack([torch.cat([images[:, 0, i], images[:, 1, i]], 1) for i in range(4)], 1)  # (5, 4, 6)
    hidden, _ = as_torch(network)(rows)
    assert torch.allclose(network.features(images), hidden[:, -1])
    upside_down, _ = as_torch(network)(rows.flip(1))
    assert not torch.allclose(network.features(images), upside_down[:, -1], atol=1e-3)


def test_it_starts_with_open_forget_gates_and_weights_within_torchs_bounds() -> None:
    layer = lstm().layers[0]
    assert layer.bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    weights = torch.cat([layer.weight_input.flatten(), layer.weight_hidden.flatten()])
    assert 0.9 / 5**0.5 < weights.abs().max().item() <= 1 / 5**0.5


def test_without_outputs_it_returns_its_features_and_the_head_has_its_name() -> None:
    x = torch.randn(7, 6, 3).double()
    headless = lstm(n_outputs=None)
    assert torch.equal(headless(x), headless.features(x))
    assert headless(x).shape == (7, 5)
    assert {name for name, _ in lstm().named_parameters() if name.startswith("head.")} == {"head.weight", "head.bias"}


def test_vectors_have_no_order_to_be_read_in() -> None:
    with pytest.raises(ConfigError, match=r"LSTM reads sequences .* shape \(9,\)\. Choose another model"):
        lstm((9,))


def adapted_loss(network: LSTM, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The loss () on half of the examples after a gradient step on the other half."""

    def loss(params: dict[str, Tensor], part: slice) -> Tensor:
        return nn.functional.cross_entropy(functional_call(network, params, (x[part],)), y[part])

    gradients = grad(loss)(params, slice(0, 4))
    return loss({name: p - 0.5 * gradients[name] for name, p in params.items()}, slice(4, 8))


def test_second_derivatives_map_over_tasks_with_weights_of_their_own() -> None:
    network = lstm(layers=2)
    params = {name: torch.stack([p, 1.5 * p, -p]).detach() for name, p in network.named_parameters()}
    x, y = torch.randn(3, 8, 6, 3).double(), torch.arange(24).view(3, 8) % 4
    mapped = vmap(grad(lambda p, x, y: adapted_loss(network, p, x, y)))(params, x, y)
    for i in range(3):
        alone = {name: p[i].clone().requires_grad_() for name, p in params.items()}
        expected = torch.autograd.grad(adapted_loss(network, alone, x[i], y[i]), list(alone.values()))
        for name, gradient in zip(alone, expected, strict=True):
            assert torch.allclose(mapped[name][i], gradient, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(mapped["layers.0.weight_hidden"][0], mapped["layers.0.weight_hidden"][1], rtol=1e-3)


def sequence_tasks(n_tasks: int, seed: int) -> Episode:
    """Two classes of a task differ in *when* a pulse comes, not in what the steps hold."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.stack([torch.randperm(6, generator=generator)[:2] for _ in range(n_tasks)])  # (T, 2)

    def draw(per_class: int) -> Examples:
        y = torch.arange(2).repeat(n_tasks, per_class)
        pulses = nn.functional.one_hot(torch.gather(times, 1, y), 6).double()  # (T, S, 6)
        noise = 0.1 * torch.randn(pulses.shape, generator=generator, dtype=torch.float64)
        return Examples((pulses + noise).unsqueeze(-1), y, 2)

    return Episode(draw(2), draw(3))


def test_maml_trains_it_on_sequences_far_above_chance() -> None:
    torch.manual_seed(0)
    network = LSTM((6, 1), 2, 8, 1, "last", 1.0).double()
    algorithm = MAML(network, 3.0, 1, 1, False, "mean", "all", "transductive")
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=0.05)

    def right(task: Episode) -> Tensor:
        scores = algorithm.predict(algorithm.adapt(task.support), task.query.x)
        return (scores.argmax(-1) == task.query.y).double().mean()

    before = over_tasks(right, sequence_tasks(50, 10**6)).mean().item()
    for step in range(40):
        optimizer.zero_grad()
        over_tasks(algorithm, sequence_tasks(8, step)).mean().backward()
        optimizer.step()
    assert before < 0.7
    assert over_tasks(right, sequence_tasks(50, 10**6)).mean().item() > 0.85
