"""The network of a run, made from its settings."""

from __future__ import annotations

import pytest

from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.run.initial.network import Interface, build_network


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv4", "Conv4 takes images"),
        ("conv4_ravi", "Conv4 takes images"),
        ("omniglot_conv", "OmniglotConv takes images"),
        ("lstm", "LSTM reads sequences"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_called_by_its_file(name: str, message: str) -> None:
    settings = Composer().settings(["dataset=sinusoid", f"model={name}", "device=cpu"])
    with pytest.raises(ConfigError) as caught:
        build_network(settings, Interface((1,), 1))
    assert str(caught.value).startswith(f"model={name}: {message}")
