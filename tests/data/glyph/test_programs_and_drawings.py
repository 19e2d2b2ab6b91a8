"""What glyphs are made of: strokes, programs of strokes, and drawings of programs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metaexp.core.addressing import integers, subkeys
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.glyph import drawing as glyph_drawing
from metaexp.data.glyph import programs as glyph_programs
from metaexp.data.glyph.programs import DRAWINGS, Inventory, Programs, choose_programs, curve_points
from metaexp.data.glyph.shapes import KNOTS, POINTS, shapes

COUNTS: dict[Split, int] = {"train": 40, "val": 10, "test": 60}


@pytest.fixture(scope="module")
def programs() -> Programs:
    return choose_programs(0, COUNTS)["test"]


def test_no_class_looks_like_another_in_its_split_or_across_splits() -> None:
    chosen = choose_programs(0, COUNTS)
    everything = Programs(*(torch.cat(parts) for parts in zip(*(chosen[s] for s in SPLITS), strict=True)))
    points = curve_points(everything.knots, Inventory.make().weights[everything.shape][..., ::4, :])
    thumbnails = glyph_programs._thumbnails(points, everything.used())
    distances = torch.cdist(thumbnails, thumbnails).square().fill_diagonal_(torch.inf)
    assert float(distances.min()) >= glyph_programs._TWINS
    assert len(torch.unique(everything.keys)) == len(everything.keys)


def test_a_twin_of_an_earlier_character_is_ignored_also_in_a_later_block(programs: Programs) -> None:
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
