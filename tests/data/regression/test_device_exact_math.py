"""Sines, exponentials and normal deviates out of operations that every device rounds alike."""

from __future__ import annotations

import math

import pytest
import torch

from metaexp.core.addressing import subkeys
from metaexp.data.regression.device_exact_math import decay, normal, sine, uniform

KEYS = subkeys(torch.tensor(7), 0, 200_000)


def test_sine_is_the_sine_to_the_last_bits_of_float32() -> None:
    x = uniform(KEYS, -1000.0, 1000.0)
    assert float((sine(x).double() - x.double().sin()).abs().max()) < 3e-7
    assert float((sine(x).double() - (x.double() + 1e-5).sin()).abs().max()) > 3e-7


def test_sine_is_odd_and_right_at_special_places() -> None:
    x = uniform(KEYS, 0.0, 20.0)
    assert torch.equal(sine(-x), -sine(x))
    assert sine(torch.tensor([0.0, math.pi / 2, -math.pi / 2])).tolist() == pytest.approx([0.0, 1.0, -1.0], abs=2e-7)


def test_decay_is_the_exponential_to_the_last_bits_of_float32() -> None:
    x = uniform(KEYS, 0.0, 40.0)
    exact = (-x.double()).exp()
    assert float(((decay(x).double() - exact) / exact).abs().max()) < 1e-6
    assert float(((decay(x + 1e-4).double() - exact) / exact).abs().max()) > 1e-6
    assert float(decay(torch.tensor([0.0]))) == 1.0


def test_normal_has_the_moments_of_a_standard_normal() -> None:
    z = normal(KEYS).double()
    assert abs(float(z.mean())) < 4 / math.sqrt(len(z))
    assert abs(float(z.var()) - 1.0) < 4 * math.sqrt(2 / len(z))
    assert abs(float((z**4).mean()) - 2.85) < 0.08
    assert abs(float((z.abs() < 1.0).double().mean()) - 0.6827) < 0.01
    assert float(z.abs().max()) <= 4.89


def test_normal_is_the_sum_of_the_eight_bytes_of_a_word() -> None:
    word = [(KEYS >> (8 * byte)) & 255 for byte in range(8)]
    total = torch.stack(word).sum(0)
    assert torch.equal(normal(KEYS), (total - 1020).float() * (1 / math.sqrt(8 * 65535 / 12)))
    assert not torch.equal(normal(KEYS), normal(KEYS + 1))


def test_uniform_covers_its_range_evenly() -> None:
    u = uniform(KEYS, -2.0, 3.0)
    assert -2.0 <= float(u.min()) < -1.999
    assert 2.999 < float(u.max()) <= 3.0
    counts = torch.histc(u, 50, -2.0, 3.0)
    assert float(((counts - 4000.0) ** 2 / 4000.0).sum()) < 100.0  # chi squared, 49 degrees of freedom
