"""What is known of a dataset that its files do not say. Importing this module does not import torch."""

from __future__ import annotations

from typing import Final, NamedTuple


class Card(NamedTuple):
    """Where a dataset comes from, and under which terms.

    Attributes:
        source: The publication, and where the files are.
        licence: The licence or the terms of use; empty where metaexp does not know them.
    """

    source: str
    licence: str = ""


COMPUTED: Final = Card("Computed by metaexp; nothing is downloaded.", "That of metaexp (MIT).")
OWN_FILE: Final = Card("Your own files.")
IMAGENET: Final = "Images of ImageNet, for non-commercial research and education; see image-net.org/download."
