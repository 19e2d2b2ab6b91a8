"""A dataset of a mixture that is too small for the task is found before anything starts, and is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError, DataError, MissingDataError
from metaexp.core.fit.domains import Domains, domain_problems
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.data.glyphs import Glyphs
from metaexp.data.mixture.dataset import Mixture

FILE = """
defaults:
  - mixture
  - _self_
domains:
  omniglot: {stand_in: true}
  glyphs: {train_classes: 8, val_classes: 6, test_classes: 5, per_class: 8}
"""
LARGE = Glyphs(50, 50, 50, 50, 0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "small.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAEXP_CONFIG_DIR", str(tmp_path / "conf"))
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path / "data"))


GIVEN = ["dataset=small", "algorithm=proto_net", "task.n_query=2", "device=cpu", "tracker=files"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["task.n_way=6"], "task.n_way=6 needs as many classes; the test split of dataset.domains.glyphs has 5."),
        (["task.k_shot=9"], "an episode needs 11 examples per class; the test split of dataset.domains.glyphs has a"),
        (["train.n_way=9"], "train.n_way=9 needs as many classes; the train split of dataset.domains.glyphs has 8."),
        (["dataset.least_ways=6", "task.n_way=7"], "dataset.least_ways=6 needs as many classes; the test split of"),
        (["dataset.least_ways=6"], "dataset.least_ways=6 is more than task.n_way=5, which is the most."),
        (["dataset.varied_shots=true", "dataset.domains.glyphs.per_class=1"], "an episode needs 2 examples per class"),
    ],
)
@pytest.mark.parametrize("verb", [["plan"], ["train", "-m"], ["train"]])
def test_every_command_foresees_it_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], verb: list[str], changes: list[str], said: str
) -> None:
    assert main([*verb, *GIVEN, *changes, *([] if verb == ["train"] else ["seed=0,1"])]) == 2
    assert said in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_what_fits_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *GIVEN, "task.n_way=5", "task.k_shot=6", "seed=0,1"]) == 0
    varied = ["dataset.least_ways=5", "task.n_way=50", "dataset.varied_shots=true", "task.k_shot=100"]
    assert main(["plan", *GIVEN, *varied, "seed=0,1"]) == 0
    assert "needs" not in capsys.readouterr().err


def test_a_mixture_may_be_looked_at_whatever_the_task() -> None:
    composer, asked = Composer(Path("conf")), ["dataset=small", "task.n_way=60"]
    assert composer.settings(asked, Purpose.LOOK).task.n_way == 60
    with pytest.raises(ConfigError, match=r"task\.n_way=60 needs as many classes"):
        composer.settings(asked)


def test_what_is_known_only_when_the_data_are_loaded_is_said_alike(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mixture, "sizes_in", lambda *_: Domains({}))
    short = [*GIVEN, "model=mlp", "model.hidden=[4]", "train.steps=0", "eval.episodes=4"]
    assert main(["train", *short, "train.n_way=9"]) == 2
    assert "train.n_way=9 needs as many classes; the train split of dataset.domains.glyphs has 8." in (
        capsys.readouterr().err
    )
    mx.train(*short, folder="run")
    capsys.readouterr()
    assert main(["evaluate", "run", "task.n_way=6"]) == 2
    assert "task.n_way=6 needs as many classes; the test split of dataset.domains.glyphs has 5." in (
        capsys.readouterr().err
    )


class OfFiles(Glyphs):
    """A dataset of which only the files tell how large it is."""

    def __init__(self, found: Capacity | Exception) -> None:
        super().__init__(5, 5, 5, 5, 0)
        self.found = found

    def capacity(self) -> None:  # type: ignore[override]
        return None

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity]:
        if isinstance(self.found, Exception):
            raise self.found
        return dict.fromkeys(SPLITS, self.found)


def test_what_only_files_tell_counts_too() -> None:
    small = Mixture({"large": LARGE, "small": OfFiles(Capacity(3, 9))})
    (problem,) = domain_problems(small.sizes_in(Path()), "val", TaskShape(4, 1, 1))
    assert problem == (
        "SECTION.n_way=4 needs as many classes; the val split of dataset.domains.small has 3. Lower SECTION.n_way."
    )
    assert list(domain_problems(small.sizes_in(None), "val", TaskShape(4, 1, 1))) == []
    missing = Mixture({"large": LARGE, "small": OfFiles(MissingDataError("not here"))})
    assert list(missing.sizes_in(Path()).sizes) == ["large"]
    wrong = Mixture({"large": LARGE, "small": OfFiles(DataError("a class is empty: dataset.file"))})
    with pytest.raises(DataError, match=r"^dataset\.domains\.small: a class is empty: dataset\.domains\.small\.file$"):
        wrong.sizes_in(Path())
