"""Emoji in grey, as a mixture with characters needs them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from metaexp.data.icons.dataset import Emoji
from metaexp.data.icons.prepare import in_grey


def test_grey_is_what_pillow_computes() -> None:
    colours = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, grey in zip(colours, in_grey(colours), strict=True):
        expected = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
        assert np.array_equal(grey[0].numpy(), expected)
    assert not torch.equal(in_grey(colours)[0, 0], colours[0, 1])


def test_grey_emoji_have_one_channel_and_colour_is_the_default() -> None:
    arguments = ("permissive", 4, "random", None, 28, None)
    assert Emoji(*arguments, grey=True).image_preparation().channels == 1
    assert Emoji(*arguments).image_preparation().channels == 3
