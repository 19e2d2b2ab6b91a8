import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad

from metaexp.models.base import buffers_of, call, parameters_of
from metaexp.models.batch_norm import BatchNorm, Statistics
from metaexp.models.fused_batch_norm import FusedBatchNorm

torch.manual_seed(0)
IMAGES = torch.randn(6, 3, 4, 4, dtype=torch.float64) * 2 + 1


def pair(momentum: float = 0.3, scale: bool = True, shift: bool = True) -> tuple[BatchNorm, FusedBatchNorm]:
    """Both classes with the same random weights and statistics, in float64."""
    plain = BatchNorm(3, momentum=momentum, scale=scale, shift=shift).double()
    fused = FusedBatchNorm(3, momentum=momentum, scale=scale, shift=shift).double()
    for tensor in [*plain.parameters(), *plain.buffers()]:
        tensor.data.uniform_(0.5, 2.0)
    fused.load_state_dict(plain.state_dict())
    return plain, fused


def outcome(norm: BatchNorm, x: Tensor, statistics: Statistics) -> list[Tensor]:
    """Values, statistics afterwards, and gradients of a weighted sum of the values."""
    x = x.clone().requires_grad_()
    out = call(norm, parameters_of(norm), buffers_of(norm), x, statistics)
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    gradients = torch.autograd.grad((out.values * weights).sum(), [x, *norm.parameters()])
    return [out.values, *out.buffers.values(), *gradients]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("statistics", ["batch", "collect", "replace", "stored"])
@pytest.mark.parametrize("x", [IMAGES, IMAGES[:, :, 0, 0], IMAGES[:1, :, 0, 0]], ids=["maps", "vectors", "one value"])
def test_values_statistics_and_gradients_are_those_of_the_class_it_derives_from(
    x: Tensor, statistics: Statistics, affine: bool
) -> None:
    plain, fused = pair(scale=affine, shift=affine)
    expected = outcome(plain, x, statistics)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(outcome(fused, x, statistics), expected, strict=True))
    other: Statistics = "batch" if statistics == "stored" else "stored"
    different = outcome(fused, x, other)[0]
    assert not torch.allclose(different, expected[0], atol=1e-3)


def test_it_keeps_to_elementary_operations_inside_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fused = pair()

    def forbidden(*_: object, **__: object) -> Tensor:
        raise AssertionError("torch's kernel was called")

    monkeypatch.setattr("metaexp.models.fused_batch_norm.F.batch_norm", forbidden)
    state = {**parameters_of(fused), **buffers_of(fused)}
    torch.vmap(lambda x: functional_call(fused, dict(state), (x,)))(IMAGES.unsqueeze(0))
    grad(lambda x: functional_call(fused, dict(state), (x,)).square().sum())(IMAGES)
    with pytest.raises(AssertionError, match="kernel was called"):
        fused(IMAGES)


def test_statistics_collected_by_a_functional_call_leave_the_module_alone() -> None:
    _, fused = pair()
    before = {name: buffer.clone() for name, buffer in fused.named_buffers()}
    collected = call(fused, parameters_of(fused), buffers_of(fused), IMAGES, "collect").buffers
    assert all(torch.equal(buffer, before[name]) for name, buffer in fused.named_buffers())
    assert not torch.allclose(collected["running_mean"], before["running_mean"], atol=1e-3)
