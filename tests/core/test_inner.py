import weakref
from collections.abc import Iterator

import pytest
import torch

from metaexp.core.inner import constant_gradient, descend, gradient_step, in_transform, last

TARGET = torch.tensor([3.0, -1.0], dtype=torch.float64)


def quadratic(params: dict[str, torch.Tensor]) -> torch.Tensor:
    """0.5 * sum(a * (w - target)^2) has gradient a * (w - target) and Hessian diag(a)."""
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    return 0.5 * (curvature * (params["w"] - TARGET) ** 2).sum()


def start() -> dict[str, torch.Tensor]:
    return {"w": torch.zeros(2, dtype=torch.float64, requires_grad=True)}


def test_one_step_equals_the_closed_form() -> None:
    after = gradient_step(quadratic, start(), 0.1, first_order=False)["w"]
    expected = 0.1 * torch.tensor([1.0, 4.0], dtype=torch.float64) * TARGET
    assert torch.allclose(after, expected, atol=1e-14)
    assert not torch.allclose(after, 2 * expected, atol=1e-3)


def test_second_order_gradient_contains_the_hessian_and_first_order_does_not() -> None:
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    jacobians = {}
    for first_order in (False, True):
        params = start()
        gradient_step(quadratic, params, 0.1, first_order)["w"].sum().backward()
        jacobians[first_order] = params["w"].grad
    assert torch.allclose(jacobians[False], 1 - 0.1 * curvature, atol=1e-14)
    assert torch.allclose(jacobians[True], torch.ones(2, dtype=torch.float64), atol=1e-14)


def test_rates_per_parameter_are_used_and_receive_gradients() -> None:
    rates = {"w": torch.tensor([0.1, 0.0], dtype=torch.float64, requires_grad=True)}
    after = gradient_step(quadratic, start(), rates, first_order=False)["w"]
    after.sum().backward()
    assert after[1].item() == 0.0
    assert after[0].item() == pytest.approx(0.3)
    assert torch.allclose(rates["w"].grad, torch.tensor([3.0, -4.0], dtype=torch.float64))


def test_descend_yields_the_start_and_every_step() -> None:
    path = [p["w"].detach() for p in descend(quadratic, start(), 0.1, 5, first_order=False)]
    assert len(path) == 6
    assert torch.equal(path[0], torch.zeros(2, dtype=torch.float64))
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    assert torch.allclose(path[5], TARGET * (1 - (1 - 0.1 * curvature) ** 5), atol=1e-14)


def test_the_last_state_is_had_without_holding_the_others() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def states() -> Iterator[torch.Tensor]:
        nonlocal most
        for step in range(5):
            state = torch.full((), float(step))
            alive.append(weakref.ref(state))
            yield state
            del state
            most = max(most, sum(ref() is not None for ref in alive))

    assert last(states()).item() == 4
    assert most <= 1
    held = [*states()]
    assert most == len(held) == 5


def test_a_constant_gradient_is_the_gradient_inside_transforms_and_outside() -> None:
    def loss(params: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(in_transform())
        return quadratic(params)

    seen: list[bool] = []
    expected = torch.tensor([1.0, 4.0], dtype=torch.float64) * -TARGET
    params = {**start(), "unused": torch.ones(3, requires_grad=True)}
    with torch.no_grad():
        without = constant_gradient(loss, params)
    with_grad = constant_gradient(loss, params)
    mapped = torch.vmap(lambda w: constant_gradient(loss, {"w": w})["w"])(torch.zeros(2, 2, dtype=torch.float64))
    assert seen == [False, False, True]
    for found in (without["w"], with_grad["w"], *mapped):
        assert torch.allclose(found, expected, atol=1e-14)
        assert not torch.allclose(found, 2 * expected, atol=1e-3)
        assert not found.requires_grad
    assert torch.equal(without["unused"], torch.zeros(3))


def test_where_nothing_will_be_differentiated_the_inner_loop_uses_plain_autograd() -> None:
    def loss(params: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(in_transform())
        return quadratic(params)

    seen: list[bool] = []
    with torch.no_grad():
        tested = gradient_step(loss, start(), 0.1, first_order=False)["w"]
    trained = gradient_step(loss, start(), 0.1, first_order=False)["w"]
    assert seen == [False, True]
    assert torch.allclose(tested, trained, atol=1e-14)
    assert not tested.requires_grad
