"""Tags and notes of a run, and several trackers at once: what is allowed, and that no hash changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.core.errors import ConfigError


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def test_tags_and_notes_are_in_the_configuration_and_change_no_hash(composer: Composer) -> None:
    plain = composer.settings([])
    labelled = composer.settings(["tags=[baseline,wide]", "notes=A wider network."])
    assert (labelled.tags, labelled.notes) == (("baseline", "wide"), "A wider network.")
    assert labelled.resolved["tags"] == ["baseline", "wide"]
    assert labelled.config_hash == plain.config_hash
    assert {"tags", "notes"} & set(plain.resolved) == set()  # configurations without them are what they were
    assert composer.settings(["seed=1", "tags=[baseline]"]).config_hash != plain.config_hash


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tags=3", "tags=3 must be a list, each item text."),
        ("tags=[1]", "tags=[1] must be a list, each item text."),
        ("tags=['']", "tags=['']: a tag has 1 to 64 characters."),
        (f"tags=[{'x' * 65},a]", "tags=[xxxxxxxx"),
        ("notes=[a]", "notes=[a] must be text or null."),
        (
            "tracker=[wandb,tensorbord]",
            "tracker=[wandb,tensorbord]: tensorbord is not there. Did you mean tensorboard?",
        ),
        ("tracker=[wandb,wandb]", "tracker=[wandb,wandb] names a file twice; name each once."),
        ("tracker=[]", "tracker=[] is empty; tracker=files has only the files that every run writes."),
        ("dataset=[omniglot,glyphs]", "dataset=[omniglot,glyphs] is not there."),
    ],
)
def test_a_wrong_tag_note_or_list_is_named(composer: Composer, line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.settings([line])
    assert [found[: len(problem)] for found in caught.value.problems] == [problem]


def test_several_trackers_are_chosen_as_a_list(composer: Composer) -> None:
    both = composer.settings(["tracker=[wandb,tensorboard]", "tracker.wandb.project=birds"])
    assert list(both.tracker) == ["wandb", "tensorboard"]
    assert both.tracker["wandb"].arguments["project"] == "birds"
    one = composer.settings(["tracker=wandb", "tracker.wandb.project=birds"])
    assert both.tracker["wandb"] == one.tracker["wandb"]
    assert both.config_hash == one.config_hash
    assert list(composer.settings(["tracker=[files,tensorboard]"]).tracker) == ["tensorboard"]


def test_an_earlier_run_goes_on_with_other_trackers(composer: Composer) -> None:
    earlier = composer.settings(["tracker=wandb"])
    assert earlier.choices["tracker"] == "wandb"
    later = revise(earlier.resolved, earlier.choices, ["tracker=[files,tensorboard]"], purpose=Purpose.CONTINUE)
    assert list(later.tracker) == ["tensorboard"]
    assert "tracker" not in later.choices  # no single file was chosen
    assert later.config_hash == earlier.config_hash


def test_an_own_file_may_choose_several_trackers(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /tracker: [wandb, tensorboard]\ntags: [mine]\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    found = Composer(tmp_path).settings(["experiment=mine"])
    assert list(found.tracker) == ["wandb", "tensorboard"]
    assert found.tags == ("mine",)
