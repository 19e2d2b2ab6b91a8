"""Objects that hold much are shown shortly: every part is named, and long ones are cut."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from folders_of_runs import a_record

import metaexp as mx
from metaexp.config.compose import Composer
from metaexp.core.short_repr import LongList, ShortRepr

MOST = 4000
"""Characters that are shown of anything."""


@dataclass(frozen=True, repr=False)
class Parts(ShortRepr):
    name: str
    numbers: list[float] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    zero: int = 0


def test_each_field_has_a_line_and_long_ones_say_how_much_they_hold() -> None:
    long = Parts("a", [0.5] * 400, {f"key{number}": "x" * 30 for number in range(30)}, "e" * 500)
    name, numbers, config, error, zero, last = repr(long).splitlines()[1:]
    assert (name, zero) == ("  name: 'a'", "  zero: 0")
    assert numbers.startswith("  numbers: 400 items, the first 0.5")
    assert config.startswith("  config: 30 keys: key0, key1, ")
    assert config.endswith("and 22 more")
    assert error.endswith("... (502 characters)")
    assert last == "  attributes, such as .name>"
    assert repr(Parts("a")).splitlines()[1:] == [
        "  name: 'a'", "  zero: 0", "  attributes, such as .name, and empty: numbers, config, error>",
    ]  # fmt: skip
    assert repr(Parts("a", [0.5, 0.25])).splitlines()[2] == "  numbers: [0.5, 0.25]"
    assert "\x1b" not in repr(Parts("\x1b[31m"))


def test_a_long_list_shows_its_ends_and_is_a_list() -> None:
    long = LongList(range(1000))
    assert repr(long) == "[0, ... 998 more ..., 999]"
    assert [repr(LongList(range(n))) for n in range(4)] == ["[]", "[0]", "[0, 1]", "[0, ... 1 more ..., 2]"]
    assert len(repr(LongList([LongList([0.5] * 600)] * 3))) < 200
    assert long == list(range(1000))
    assert json.loads(json.dumps(long)) == long
    assert long != [*range(999), 0]


def test_a_record_says_what_it_is_and_its_scores_in_a_screen() -> None:
    record = a_record(training_classes=["0" * 64] * 1000)
    shown = repr(record)
    assert len(asdict(record)["training_classes"]) == 1000
    assert len(shown) < MOST
    parts = [
        "status: 'completed'",
        f"name: '{record.name}'",
        f"test: {record.test!r}",
        "config: 5 keys: seed",
        "1,000 items",
    ]
    for part in parts:
        assert part in shown
    assert "error: 'disk full'" in repr(replace(record, error="disk full"))


def test_settings_show_each_class_with_its_arguments() -> None:
    settings = Composer().settings(["algorithm=maml", "seed=3"])
    shown = repr(settings)
    assert len(shown) < MOST
    assert "seed: 3" in shown
    assert "  algorithm: metaexp.algorithms.maml.MAML(inner_lr=" in shown
    assert len(repr(settings.resolved)) > 1500


def test_nothing_that_a_notebook_gets_from_python_is_shown_at_length(tmp_path: Any) -> None:
    run = mx.train(
        "algorithm=maml", "model=mlp", "dataset.train_classes=8", "dataset.val_classes=5", "dataset.test_classes=5",
        "train.steps=30", "train.log_every=1", "train.eval_episodes=4", "eval.episodes=300", "device=cpu",
        "tracker=files", "device.threads=1", folder=tmp_path / "run",
    )  # fmt: skip
    glyphs = mx.dataset("glyphs")
    learner = run.learner()
    shown = {
        "run": run, "record": run.record, "settings": run.settings, "metrics": run.metrics, "learner": learner,
        "episodes": run.test_episodes, "one step": run.test_episodes[0], "figures": run.figures, "dataset": glyphs,
        "algorithm": learner.algorithm, "evaluation": run.evaluate(), "runs": mx.runs(tmp_path),
    }  # fmt: skip
    assert {name: len(repr(item)) for name, item in shown.items() if len(repr(item)) > MOST} == {}
    assert len(repr(list(run.test_episodes[0]))) > 300
