"""What icons show by their names, which are equal, and what the packaged lists say."""

from __future__ import annotations

import numpy as np
import pytest

from metaexp.core.shapes import SPLITS
from metaexp.data.icons.concepts import concept_and_style, style_rank, words_in_common
from metaexp.data.icons.emoji_names import EmojiNames, has_tone, without_tones
from metaexp.data.icons.equal import EQUAL, equal_drawings
from metaexp.data.icons.lists import LEAST, LEAST_DRAWINGS, capacity, classes, counts, left_out
from metaexp.data.icons.prepare import published_digests
from metaexp.data.icons.select import Drawing
from metaexp.data.icons.sets import families, places

KINDS = [("icons", 10), ("icons", 15), ("emoji", 4), ("emoji", 5)]


@pytest.mark.parametrize(
    ("name", "icon_set", "expected"),
    [
        ("home", {}, ("home", "")),
        ("home-outline", {}, ("home", "outline")),
        ("home-line-duotone", {}, ("home", "line-duotone")),
        ("arrow-left-24", {}, ("arrow-left", "24")),
        ("baseline-home", {"prefixes": {"baseline": "", "round": ""}}, ("home", "baseline")),
        ("home-20-solid", {"suffixes": {"": "", "solid": "", "20-solid": ""}}, ("home", "20-solid")),
        ("solid-home", {}, ("solid-home", "")),
        ("outline", {}, ("outline", "")),
    ],
)
def test_a_concept_is_the_name_without_the_style(name: str, icon_set: object, expected: tuple[str, str]) -> None:
    assert concept_and_style(name, icon_set) == expected


def test_plain_drawings_are_preferred_to_filled_ones() -> None:
    assert style_rank("") < style_rank("outline") < style_rank("fill") == style_rank("unheard-of")


def test_a_category_is_the_word_that_most_names_share() -> None:
    found = words_in_common(["user", "users", "user-plus", "plus", "circle-plus", "bus", "arrow-left"])
    assert found["users"] == found["user-plus"] == found["user"] == "user"
    assert found["circle-plus"] == found["plus"] == "plus"
    assert (found["bus"], found["arrow-left"]) == ("bus", "arrow")


def test_emoji_are_known_by_code_alias_unicode_name_and_flag() -> None:
    sets = {
        "one": {"chars": {"1f401": "mouse-animal", "1f44b": "waving-hand", "1f1eb-1f1ee": "flag-for-flag-finland"},
                "aliases": {"wave": {"parent": "waving-hand"}}, "icons": {}},
    }  # fmt: skip
    names = EmojiNames(sets)
    assert names.code("mouseanimal", {}) == names.code("mouse", {}) == "1f401"
    assert names.code("wave", {}) == names.code("waving-hand-2", {}) == "1f44b"
    assert names.code("flag-finland", {}) == names.code("flag-for-finland", {}) == "1f1eb-1f1ee"
    assert names.code("own", {"own": "1f600"}) == "1f600"
    assert names.code("unheard-of", {}) is None
    assert names.concept("1f44b-1f3ff") == "1f44b_waving-hand"
    assert (without_tones("1f44b-1f3fb-fe0f"), has_tone("1f44b-1f3fb"), has_tone("1f44b")) == ("1f44b", True, False)


def drawing(family: str, source: str, permissive: bool = True) -> Drawing:
    return Drawing("a", family, source, "", (0, 0, 24, 24), permissive, (0,))


def square(shift: int) -> np.ndarray:
    image = np.full((1, 40, 40), 255, np.uint8)
    image[:, 5:35, 5 + shift : 35 + shift] = 0
    return image


def test_copies_blanks_and_drawings_of_two_concepts_are_left_out_and_others_stay() -> None:
    nearly = square(0)
    nearly[0, 5, 5:20] = 255  # 15 of 900 pixels
    first = [drawing("x", "x:a", permissive=False), drawing("y", "y:a"), drawing("z", "z:a"), drawing("y", "y:a2")]
    second = [drawing("y", "y:b"), drawing("z", "z:b")]
    images = [
        np.stack([square(0), nearly, square(2), square(3)]),
        np.stack([square(2), np.full((1, 40, 40), 255, np.uint8)]),
    ]
    assert equal_drawings([first, second], images) == {"x:a": "y:a", "y:b": "z:a", "z:b": "blank"}
    assert 2 / 30 > EQUAL > 15 / 900


@pytest.mark.parametrize("split_by", ["random", "category"])
@pytest.mark.parametrize(("kind", "least"), KINDS)
def test_packaged_splits_share_no_class_and_are_large_enough_for_five_shots(kind, least, split_by) -> None:
    strict, wide = (classes(kind, split_by, licences, least) for licences in ("permissive", "all"))
    names = [c for split in SPLITS for c in wide[split]]
    assert len(names) == len(set(names)) > 500
    assert all(set(strict[split]) <= set(wide[split]) for split in SPLITS)
    for found in (strict, wide):
        for c in capacity(found).values():
            assert c.n_classes >= 20
            assert c.per_class >= (least if kind == "icons" else LEAST_DRAWINGS)


@pytest.mark.parametrize("kind", ["icons", "emoji"])
def test_both_ways_to_split_divide_the_same_concepts_with_the_same_counts(kind) -> None:
    random, category = (
        {c: n for of_it in counts(kind, by).values() for c, n in of_it.items()} for by in ("random", "category")
    )
    assert random == category
    assert all(
        n.all_designers >= max(LEAST[kind], n.designers) and n.all_drawings >= n.drawings for n in random.values()
    )


def test_the_packaged_sets_and_digests_are_whole() -> None:
    for kind in ("icons", "emoji"):
        assert all(source.partition(":")[0] in places(kind) for source in left_out(kind))
        assert len(families(kind)) == len(set(families(kind)))
    assert {"google", "font-awesome"} <= set(families("icons"))
    assert places("icons")["fa6-solid"].family == places("icons")["fa"].family
    assert sorted(published_digests()) == sorted(
        f"{kind} permissive {n}" for kind in ("icons", "emoji") for n in (28, 32, 84)
    )
    assert all(len(digest) == 64 for digest in published_digests().values())
