"""What a mixture says of files that are not here: one command fetches all that can be fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import MissingDataError
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.glyphs import Glyphs
from metaexp.data.inventory.sources import Sources, to_fetch
from metaexp.data.mixture.dataset import Mixture


class Domain(Dataset):
    """A dataset of which only the sources are known."""

    kind = "classification"

    def __init__(self, sources: Sources | None) -> None:
        self._sources = sources

    def capacity(self) -> None:
        return

    def sources(self, folder: Path) -> Sources | None:
        return self._sources

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        raise NotImplementedError


GENERIC = to_fetch("104 MB", "icons")
NAMED = to_fetch("14 MB", "omniglot", name="omniglot")
BY_HAND = Sources("by hand", advice="Put the pickles into data/mini.")
HERE = Sources("computed")


@pytest.mark.parametrize(
    ("domains", "advice"),
    [
        (
            {"a": GENERIC, "b": NAMED, "c": GENERIC},
            "metaexp data prepare mine fetches a (104 MB), b (14 MB), c (104 MB)",
        ),
        ({"a": HERE, "b": NAMED}, "metaexp data prepare mine fetches b (14 MB)"),
        (
            {"a": BY_HAND, "b": GENERIC, "c": BY_HAND},
            "metaexp data prepare mine fetches b (104 MB); a: Put the pickles into data/mini.; "
            "c: Put the pickles into data/mini.",
        ),
        ({"a": BY_HAND, "b": None}, "a: Put the pickles into data/mini."),
        ({"a": HERE, "b": HERE}, ""),
    ],
)
def test_missing_files_have_one_command(domains: dict[str, Sources | None], advice: str, tmp_path: Path) -> None:
    made = {name: Domain(sources) for name, sources in domains.items()}
    assert Mixture(made).sources(tmp_path).advice_for("mine") == advice  # type: ignore[arg-type]


def test_a_message_of_one_dataset_has_its_keys_as_they_are_called_in_the_mixture(tmp_path: Path) -> None:
    """Those that are not keys of the dataset stay as they are."""

    class Missing(Glyphs):
        def load(self, folder: Path, progress: Progress) -> MetaDataset:
            raise MissingDataError("few: lower dataset.min_families, or set dataset.stand_in=true or dataset=glyphs.")

    keys = "few: lower dataset.domains.b.min_families, or set dataset.stand_in=true or dataset=glyphs."
    glyphs = Glyphs(6, 6, 6, 4, 0)
    two = Mixture({"a": glyphs, "b": Missing(6, 6, 6, 4, 0)})
    with pytest.raises(MissingDataError) as raised:
        two.load(tmp_path, print)
    assert str(raised.value) == f"dataset.domains.b: {keys}"
    three = Mixture({"a": glyphs, "b": Missing(6, 6, 6, 4, 0), "c": glyphs})
    with pytest.raises(MissingDataError) as raised:
        three.load(tmp_path, print)
    assert str(raised.value) == f"dataset.domains.b: {keys} Or leave b out of the mixture: '~dataset.domains.b'."
