from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from metaexp.doctor.differences import largest_difference
from metaexp.models import coordinate_lstm
from metaexp.models.coordinate_lstm import AT_ONCE, TILE, CoordinateLSTM, State, fits_cache_step, tile, untile

ORDER = torch.tensor([0, 1, 3, 2])  # nn.LSTMCell wants input, forget, candidate, output
SIZE = TILE + 7


def cell(hidden: int = 5, n_inputs: int = 3) -> CoordinateLSTM:
    torch.manual_seed(0)
    lstm = CoordinateLSTM(n_inputs, hidden).double()
    for p in lstm.parameters():
        nn.init.uniform_(p, -1, 1)
    return lstm


def as_torch(lstm: CoordinateLSTM, order: Tensor = ORDER) -> nn.LSTMCell:
    other = nn.LSTMCell(3, lstm.hidden).double()
    with torch.no_grad():
        weight = lstm.weight.unflatten(0, (4, -1))[order].flatten(0, 1)
        other.weight_ih.copy_(weight[:, :3])
        other.weight_hh.copy_(weight[:, 3:])
        other.bias_ih.copy_(lstm.bias.unflatten(0, (4, -1))[order].flatten())
        other.bias_hh.zero_()
    return other


def inputs(size: int = SIZE, steps: int = 3, seed: int = 0) -> Tensor:
    """(steps, 3, size)"""
    return torch.randn(steps, 3, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(lstm: CoordinateLSTM, x: Tensor) -> State:
    """The last state, (hidden, size) each, for ``x`` (steps, 3, size)."""
    tiles = tile(x).transpose(1, 2)  # (steps, n_tiles, 3, width)
    state = lstm.start(tiles[0, :, 0])
    for step in tiles:
        state = lstm(step, state)
    return State(*(untile(s.transpose(0, 1), x.shape[-1]) for s in state))


def run_torch(lstm: nn.LSTMCell, x: Tensor) -> State:
    state = None
    for step in x:
        state = lstm(step.T, state)
    assert state is not None
    return State(*(s.T for s in state))


def score(state: State) -> Tensor:
    """Some smooth function () of both parts of a state."""
    return (state.hidden.sin() * torch.arange(state.hidden.shape[-1])).mean() + (state.cell**3).mean()


@pytest.mark.parametrize("size", [1, 16, 100, TILE, SIZE, 3 * TILE + 1])
def test_cutting_into_tiles_and_back_is_lossless_at_any_size(size: int) -> None:
    vector = torch.randn(2, size)
    tiles = tile(vector)
    assert tiles.shape[-1] % 16 == 0
    assert torch.equal(untile(tiles, size), vector)
    assert tiles.sum().item() == pytest.approx(vector.sum().item(), abs=1e-3)
    assert not torch.equal(untile(tiles.flip(-1), size), vector)


def test_states_and_gradients_equal_torchs_lstm_cell_on_every_coordinate() -> None:
    lstm, x = cell(), inputs()
    other = as_torch(lstm)
    state, expected = run(lstm, x), run_torch(other, x)
    assert torch.allclose(state.hidden, expected.hidden, rtol=1e-9, atol=1e-12)
    assert torch.allclose(state.cell, expected.cell, rtol=1e-9, atol=1e-12)
    score(state).backward()
    score(expected).backward()
    weight = torch.cat([other.weight_ih.grad, other.weight_hh.grad], 1).unflatten(0, (4, -1))[ORDER].flatten(0, 1)
    assert torch.allclose(lstm.weight.grad, weight, rtol=1e-9, atol=1e-12)
    bias = other.bias_ih.grad.unflatten(0, (4, -1))[ORDER].flatten()
    assert torch.allclose(lstm.bias.grad, bias, rtol=1e-9, atol=1e-12)
    swapped = run_torch(as_torch(lstm, torch.arange(4)), x)
    assert not torch.allclose(state.hidden, swapped.hidden, atol=1e-2)


def of_all_tiles(lstm: CoordinateLSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> State:
    """The last state by the step whose operations take all tiles."""
    with monkeypatch.context() as patched:
        patched.setattr(coordinate_lstm, "fits_cache_step", lambda x: False)
        return run(lstm, x)


@pytest.mark.parametrize("size", [5, SIZE, AT_ONCE * TILE + 9, 3 * AT_ONCE * TILE])
@pytest.mark.parametrize("part", ["hidden", "cell", "both"])
def test_a_few_tiles_at_a_time_give_what_all_at_once_give(
    size: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstm, x = cell(), inputs(size)

    def found(by: Callable[..., State], x: Tensor) -> tuple[State, dict[str, Tensor]]:
        state = by(lstm, x)
        loss = score(state) if part == "both" else (getattr(state, part) ** 2).mean()
        return state, dict(zip(("weight", "bias"), torch.autograd.grad(loss, [lstm.weight, lstm.bias]), strict=True))

    def all_at_once(lstm: CoordinateLSTM, x: Tensor) -> State:
        return of_all_tiles(lstm, x, monkeypatch)

    state, gradients = found(run, x)
    expected, expected_gradients = found(all_at_once, x)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(state, expected, strict=True))
    assert largest_difference(gradients, expected_gradients, 1e-9)[1] < 1e-12
    _, other = found(run, x.flip(0))
    assert largest_difference(other, expected_gradients, 1e-9)[1] > 1e-3


def test_the_gradient_by_the_states_before_is_right_a_few_tiles_at_a_time() -> None:
    lstm = cell(hidden=2)
    x = torch.randn(AT_ONCE + 1, 3, 2, dtype=torch.float64)
    states = [torch.randn(AT_ONCE + 1, 2, 2, dtype=torch.float64).requires_grad_() for _ in range(2)]
    assert fits_cache_step(x)
    assert torch.autograd.gradcheck(lambda hidden, cell: tuple(lstm(x, State(hidden, cell))), states)


def test_only_plain_steps_on_a_cpu_write_into_tensors_that_are_there() -> None:
    x = torch.zeros(2, 3, 16)
    assert fits_cache_step(x)
    assert not fits_cache_step(x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not fits_cache_step(x)
    mapped: list[bool] = []
    torch.vmap(lambda x: (mapped.append(fits_cache_step(x)), x)[1])(x[None])
    assert mapped == [False]


def test_a_second_derivative_is_refused_where_a_step_has_none() -> None:
    lstm, x = cell(), inputs(40)
    (gradient,) = torch.autograd.grad(score(run(lstm, x)), [lstm.weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("part", ["hidden", "cell"])
def test_the_gradient_is_right_where_only_one_half_of_the_state_is_used(part: str) -> None:
    lstm, x = cell(hidden=2), inputs(5)

    def loss(weight: Tensor, bias: Tensor) -> Tensor:
        state: State = torch.func.functional_call(_Runner(lstm), {"lstm.weight": weight, "lstm.bias": bias}, (x,))
        return (getattr(state, part) ** 2).mean()

    assert torch.autograd.gradcheck(loss, (lstm.weight, lstm.bias))


class _Runner(nn.Module):
    def __init__(self, lstm: CoordinateLSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> State:
        return run(self.lstm, x)


def test_mapped_over_tasks_it_equals_a_loop() -> None:
    lstm = cell()
    x = torch.stack([inputs(40, seed=seed) for seed in range(3)])
    torch.vmap(lambda task: score(run(lstm, task)))(x).sum().backward()
    mapped, lstm.weight.grad = lstm.weight.grad, None
    alone = torch.stack([score(run(lstm, task)) for task in x])
    alone.sum().backward()
    assert torch.allclose(mapped, lstm.weight.grad, rtol=1e-9, atol=1e-12)
    lstm.weight.grad = None
    alone_again = torch.stack([score(run(lstm, task)) for task in x[:2]])
    alone_again.sum().backward()
    assert not torch.allclose(mapped, lstm.weight.grad, atol=1e-6)


def test_the_gradient_taken_inside_a_mapped_function_is_that_of_each_task() -> None:
    lstm = cell()
    x = torch.stack([inputs(40, seed=seed) for seed in range(3)])
    params = dict(lstm.named_parameters(prefix="lstm"))

    def loss(params: dict[str, Tensor], task: Tensor) -> Tensor:
        return score(torch.func.functional_call(_Runner(lstm), params, (task,)))

    per_task = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(params, x)
    for i in range(3):
        expected = torch.autograd.grad(score(run(lstm, x[i])), [lstm.weight])[0]
        assert torch.allclose(per_task["lstm.weight"][i], expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(per_task["lstm.weight"][0], per_task["lstm.weight"][1], atol=1e-6)


def test_coordinates_do_not_see_each_other() -> None:
    lstm, x = cell(), inputs()
    changed = x.clone()
    changed[:, :, 3] += 1
    before, after = run(lstm, x).hidden, run(lstm, changed).hidden
    others = torch.arange(SIZE) != 3
    assert torch.equal(before[:, others], after[:, others])
    assert not torch.allclose(before[:, 3], after[:, 3], atol=1e-3)


def test_in_float32_its_faster_tanh_stays_within_rounding() -> None:
    lstm, x = cell(), inputs()
    exact = run(lstm, x)
    rounded = run(lstm.float(), x.float())
    assert torch.allclose(rounded.hidden.double(), exact.hidden, atol=2e-6)
    assert not torch.equal(rounded.hidden.double(), exact.hidden)
