"""Networks of timm, with published weights: frozen, to give features, or trained further.

timm is an extra and is imported only when such a network is made.
"""

from __future__ import annotations

import difflib
import sys
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError, DataError, first_line
from metaexp.core.extras import install_command
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm, normalise_with


class TimmNetwork(Network):
    """A network of timm without its classifier, and a linear head in its place (none for features).

    Batch norm becomes :class:`~metaexp.models.batch_norm.BatchNorm`, with the same weights, so the algorithm chooses
    its statistics, as in any other network. A frozen body always uses the stored ones, takes no gradient, and drops
    nothing out.
    """

    holds_foreign_code: ClassVar[bool] = True

    def __init__(
        self, input_shape: tuple[int, ...], n_outputs: int | None, name: str, pretrained: bool, frozen: bool
    ) -> None:
        """Build the network.

        Args:
            input_shape: (C, H, W) of an image.
            n_outputs: The number of scores; None for features.
            name: A name in ``timm.list_models()``.
            pretrained: Whether timm downloads its weights. ``model.weights`` takes those of a file instead.
            frozen: Whether all weights but the head's stay as they are.

        Raises:
            ConfigError: timm is not installed, has no such network, or cannot build it for such images.
            DataError: The weights cannot be downloaded.
        """
        super().__init__()
        if len(input_shape) != 3:
            raise ConfigError(f"TimmNetwork is for images; an example of this dataset has the shape {input_shape}.")
        self.body = _body(name, pretrained, input_shape)
        self.has_frozen_features = frozen
        replace_norms(self.body)
        if frozen:
            self.body.requires_grad_(False)
        width = self._width(name, input_shape)
        self.head: nn.Module = nn.Identity() if n_outputs is None else nn.Linear(width, n_outputs)
        self.train(self.training)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, F) of images ``x`` (B, C, H, W). A frozen body gives features (B, F) back as they are."""
        if not self.has_frozen_features:
            out: Tensor = self.body(x)
            return out
        if x.dim() == 2:
            return x
        with torch.no_grad(), normalise_with("stored"):
            return self.body(x).detach()  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> TimmNetwork:
        """Set the mode; a frozen body stays in evaluation mode."""
        super().train(mode)
        if self.has_frozen_features:
            self.body.eval()
        return self

    def _width(self, name: str, input_shape: tuple[int, ...]) -> int:
        """The number of features, by a pass over an empty image."""
        was_training = self.body.training
        self.body.eval()
        try:
            with torch.no_grad(), normalise_with("stored"):
                shape = tuple(self.body(torch.zeros(1, *input_shape)).shape)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise _unfit(name, input_shape, error) from error
        finally:
            self.body.train(was_training)
        if len(shape) != 2:
            raise ConfigError(f"model.name={name} gives {shape[1:]} for an image in place of a vector. Choose another.")
        return int(shape[1])


class _Timm(Protocol):
    def create_model(self, name: str, **arguments: Any) -> nn.Module: ...
    def list_models(self) -> list[str]: ...


def _timm() -> _Timm:
    try:
        import timm
    except ImportError as error:
        # Without a version pip would take the newest torchvision, and with it another torch.
        command = f"{install_command('timm')} torch=={torch.__version__.partition('+')[0]}"
        raise ConfigError(f"TimmNetwork needs timm ({error}): {command}") from error
    except RuntimeError as error:  # a torchvision that was built for another torch
        raise ConfigError(
            f"TimmNetwork: timm is installed and cannot be imported ({error}). Install the torchvision that belongs to "
            f"torch {torch.__version__}, from where that torch came."
        ) from error
    return timm  # type: ignore[no-any-return]


def _body(name: str, pretrained: bool, input_shape: tuple[int, ...]) -> nn.Module:
    """The network of timm without a classifier, with pooled features."""
    timm = _timm()
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        near = difflib.get_close_matches(name, known, 3)
        raise ConfigError(
            f"model.name={name} is not a network of timm."
            + (f" Did you mean {' or '.join(near)}?" if near else " timm.list_models() has all names.")
        )
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": input_shape[0]}
    try:
        if _has_fixed_size(name):
            arguments["img_size"] = input_shape[1:]
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        if pretrained and _is_about_files(error):
            raise _not_downloaded(name, error) from error
        raise _unfit(name, input_shape, error) from error
    except Exception as error:  # of the library that downloads, whose errors are its own
        raise _not_downloaded(name, error) from error


def _has_fixed_size(name: str) -> bool:
    """Whether a network is built for one size of images, as those of patches are."""
    from timm.models import get_pretrained_cfg

    cfg = get_pretrained_cfg(name)
    return cfg is not None and bool(cfg.fixed_input_size)


def _is_about_files(error: Exception) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("pretrained", "download", "hub", "url", "connection"))


def _not_downloaded(name: str, error: Exception) -> DataError:
    return DataError(
        f"model.pretrained=true: the weights of {name} could not be downloaded ({first_line(error)[:200]}). Fetch "
        "them elsewhere, and set model.pretrained=false model.weights=FILE.safetensors."
    )


def _unfit(name: str, input_shape: tuple[int, ...], error: Exception) -> ConfigError:
    return ConfigError(
        f"model.name={name} cannot be built for images of the shape {input_shape} ({first_line(error)[:200]}). Change "
        "dataset.image_size, or choose another network."
    )


class _NormAndActivate(BatchNorm):
    """timm's batch norm, which is followed by its dropout and activation."""

    def __init__(self, of: Any) -> None:
        super().__init__(of.num_features, scale=of.affine, shift=of.affine, eps=of.eps, momentum=of.momentum)
        if of.affine:
            self.weight, self.bias = of.weight, of.bias
        self.running_mean, self.running_var = of.running_mean, of.running_var
        self.drop, self.act = of.drop, of.act
        self.train(of.training)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.drop(super().forward(x)))
        return out


def replace_norms(network: nn.Module) -> list[str]:
    """Put our batch norm, with the same weights, in the place of the kind that only timm has.

    A network of the user's own may have such layers, too. It has none if timm was not imported.

    Args:
        network: changed in place.

    Returns:
        The names of the layers that were replaced.
    """
    kind = getattr(sys.modules.get("timm.layers"), "BatchNormAct2d", None)
    names = []
    for name, layer in list(network.named_modules()):
        if type(layer) is kind and layer.running_mean is not None and layer.momentum is not None:
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, _NormAndActivate(layer))
            names.append(name)
    return names
