"""Glyphs: programs, drawings and the dataset made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from metaexp.core.addressing import integers, subkeys
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.glyph import drawing as glyph_drawing
from metaexp.data.glyph import programs as glyph_programs
from metaexp.data.glyph.programs import DRAWINGS, Inventory, Programs, choose_programs, curve_points
from metaexp.data.glyph.shapes import KNOTS, POINTS, shapes
from metaexp.data.glyphs import Glyphs

COUNTS: dict[Split, int] = {"train": 40, "val": 10, "test": 60}


def load(
    folder: Path, train: int = 40, val: int = 10, test: int = 60, per_class: int = 20, seed: int = 0
) -> ClassDataset:
    glyphs = Glyphs(train, val, test, per_class, seed).load(folder, lambda line: None)
    assert isinstance(glyphs, ClassDataset)
    return glyphs


def images(glyphs: ClassDataset, per_class: int) -> Tensor:
    """All drawings (C, per_class, 28, 28), in [0, 1]."""
    total = sum(capacity.n_classes for capacity in glyphs.capacity().values())
    return glyphs.examples(torch.arange(total * per_class)).view(total, per_class, 28, 28)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def glyphs(folder: Path) -> ClassDataset:
    return load(folder)


@pytest.fixture(scope="module")
def programs() -> Programs:
    return choose_programs(0, COUNTS)["test"]


def nearest_neighbour_accuracy(glyphs: ClassDataset, n_episodes: int) -> float:
    episodes = glyphs.tasks(TaskShape(5, 1, 15), seed=1000).episodes("test", torch.arange(n_episodes))
    nearest = torch.cdist(episodes.query.x.flatten(2), episodes.support.x.flatten(2)).argmin(-1)
    predicted = episodes.support.y.gather(1, nearest)
    return float((predicted == episodes.query.y).float().mean())


def test_the_dataset_is_these_very_bits(glyphs: ClassDataset) -> None:
    """A change here means other pixels: raise _VERSION of metaexp.data.glyphs, or old caches would be used."""
    assert glyphs.origin.digest == "a786742a988aa2aa3be25181797e67b49e239b35ac3f37de7b3d4dc9960a867b"


def test_another_seed_gives_other_characters(glyphs: ClassDataset, folder: Path) -> None:
    other = load(folder, seed=1)
    assert other.digest != glyphs.digest
    alike = (images(glyphs, 20) == images(other, 20)).flatten(1).all(1)
    assert not alike.any()


def test_nearest_neighbour_on_pixels_is_better_than_chance_and_far_from_perfect(glyphs: ClassDataset) -> None:
    assert 0.45 < nearest_neighbour_accuracy(glyphs, 400) < 0.75


def test_the_second_load_draws_nothing(glyphs: ClassDataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(glyph_drawing, "draw_classes", refuse)
    assert load(folder).digest == glyphs.digest
    with pytest.raises(AssertionError, match="drawn again"):
        load(folder, seed=2)


def test_more_classes_and_drawings_keep_what_was_there(glyphs: ClassDataset, folder: Path) -> None:
    larger = load(folder, train=50, val=11, test=60, per_class=21)
    few, many = images(glyphs, 20), images(larger, 21)
    assert torch.equal(few[:40], many[:40, :20])
    assert torch.equal(few[40:50], many[50:60, :20])
    assert torch.equal(few[50:], many[61:, :20])
    assert not torch.equal(few[40:50], many[40:50, :20])


def test_capacity_is_what_was_configured(glyphs: ClassDataset) -> None:
    expected = {split: Capacity(n, 20) for split, n in COUNTS.items()}
    assert Glyphs(40, 10, 60, 20, 0).capacity() == expected == glyphs.capacity()


def test_every_drawing_has_ink_in_grey_levels_and_no_two_are_the_same(glyphs: ClassDataset) -> None:
    drawings = images(glyphs, 20).flatten(0, 1)
    assert (drawings.flatten(1).amax(1) > 0.8).all()
    coverage = drawings.mean((1, 2))
    assert 0.015 < float(coverage.min()) < float(coverage.max()) < 0.35
    assert 0.07 < float(coverage.mean()) < 0.14
    assert len(torch.unique(drawings)) > 100
    assert len(torch.unique(drawings.flatten(1), dim=0)) == len(drawings)


def test_no_class_looks_like_another_in_its_split_or_across_splits() -> None:
    chosen = choose_programs(0, COUNTS)
    everything = Programs(*(torch.cat(parts) for parts in zip(*(chosen[s] for s in SPLITS), strict=True)))
    points = curve_points(everything.knots, Inventory.make().weights[everything.shape][..., ::4, :])
    thumbnails = glyph_programs._thumbnails(points, everything.used())
    distances = torch.cdist(thumbnails, thumbnails).square().fill_diagonal_(torch.inf)
    assert float(distances.min()) >= glyph_programs._TWINS
    assert len(torch.unique(everything.keys)) == len(everything.keys)


def test_a_twin_of_an_earlier_character_is_passed_over_also_in_a_later_block(programs: Programs) -> None:
    points = curve_points(programs.knots, Inventory.make().weights[programs.shape][..., ::4, :])
    first = glyph_programs._thumbnails(points, programs.used())
    shifted = glyph_programs._thumbnails(points + 0.03, programs.used())
    assert glyph_programs._is_new([first]).all()
    assert not glyph_programs._is_new([first, shifted]).any()
    assert not glyph_programs._is_new([first, first[:1], shifted[:1]]).any()
    assert glyph_programs._is_new([torch.cat([first, shifted])]).tolist() == [True] * 60 + [False] * 60


def test_thin_short_crowded_and_hidden_strokes_are_not_fair() -> None:
    axis = torch.linspace(-1.0, 1.0, 33)
    flat = torch.stack([axis, torch.zeros(33)], dim=1)
    upright = flat.flip(1)
    nothing = torch.zeros(33, 2)

    def fair(*strokes: Tensor) -> bool:
        points = torch.stack([*strokes, *[nothing] * (5 - len(strokes))])[None]
        used = torch.arange(5)[None] < len(strokes)
        return bool(glyph_programs._is_fair(points, used)[0])

    assert fair(flat, upright)
    assert not fair(flat)  # thin, and too short in all
    assert not fair(flat, upright, flat + 0.05)  # one on top of another
    assert fair(flat, upright, flat + torch.tensor([0.0, 0.5]))
    assert not fair(flat, upright, 0.01 * flat + 0.7)  # a speck
    assert not fair(*(torch.cat([flat[::2], flat.flip(0)[::2][1:]]) * 1.6 + 0.4 * i for i in range(5)))  # crowded


def test_drawings_do_not_depend_on_what_is_drawn_beside_them(programs: Programs) -> None:
    inventory, keys = Inventory.make(), subkeys(programs.keys, DRAWINGS, 3)
    together = glyph_drawing.draw(programs, inventory, keys)
    for row in (0, 17, 59):
        alone = glyph_drawing.draw(programs.take(torch.tensor([row])), inventory, keys[row : row + 1, 1:])
        assert torch.equal(alone[0], together[row, 1:])
        assert not torch.equal(alone[0], together[row, :2])


def test_drawing_leaves_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        glyph_drawing.draw_classes(3, {"train": 2, "val": 1, "test": 1}, 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_ink_is_the_distance_to_the_pens_path(programs: Programs) -> None:
    """Against every point of every stroke, in float64: a ramp of one pixel around the radius of the pen."""
    inventory, keys = Inventory.make(), subkeys(programs.keys, DRAWINGS, 1)
    drawn = glyph_drawing.draw(programs, inventory, keys)[:, 0].double() / 255
    knots = glyph_drawing._place(glyph_drawing._vary(programs.knots, inventory.positions[programs.shape], keys), keys)[
        :, 0
    ].double()
    points = inventory.weights[programs.shape].double() @ knots  # (B, strokes, POINTS, 2)
    points = points.masked_fill(~programs.used()[:, :, None, None], 1e6).flatten(1, 2)
    axis = torch.arange(28, dtype=torch.float64) + 0.5
    centres = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).view(1, -1, 2)
    distance = torch.cdist(centres.expand(len(points), -1, -1), points).amin(-1).view(-1, 28, 28)
    pens = integers(subkeys(keys, glyph_drawing._PEN, 1)[:, 0, 0], 16).double().view(-1, 1, 1)
    expected = (0.55 + 0.4 * pens / 15 + 0.5 - distance).clamp(0, 1)
    error = drawn - expected
    assert float(error.min()) > -0.2  # skipped points of short strokes, where the drawing is stretched most
    assert float(error.max()) < 0.03
    assert float(error.abs().mean()) < 0.002
    assert float((drawn.roll(1, -1) - expected).abs().mean()) > 0.05


def test_a_spline_goes_through_its_knots_and_keeps_its_corners() -> None:
    angle = next(shape for shape in shapes() if shape.name == "angle")
    points = torch.tensor(angle.weights, dtype=torch.float64) @ torch.tensor(angle.knots, dtype=torch.float64)
    for knot in angle.knots:
        assert float((points - torch.tensor(knot)).norm(dim=1).min()) < 0.03
    steps = points.diff(dim=0)
    straight = (steps.abs().amin(1) < 1e-9).sum()
    assert int(straight) >= POINTS - 2  # both arms are straight; only the step around the corner is not


def test_every_orientation_of_a_stroke_is_there_once() -> None:
    found = shapes()
    paths = [[(s.name, *path) for path in (s.knots, s.knots[::-1])] for s in found]
    assert len({min(both) for both in paths}) == len(found)
    counts = {name: sum(s.name == name for s in found) for name in {s.name for s in found}}
    assert (counts["line"], counts["cup"], counts["six"]) == (2, 4, 8)
    assert all(len(s.knots) == KNOTS and len(s.weights) == POINTS for s in found)
    assert all(abs(sum(row) - 1.0) < 1e-9 for s in found for row in s.weights)
