"""Bad command lines of every verb, mixed at random from a seed: each is refused before any work, in plain lines."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from bad_words import BAD, FINE

from metaexp.cli.main import VERBS, main
from metaexp.core.errors import ExitCode

SEED = 20_261_126
N_LINES = 200
N_PARTS = 4
OLD_RUN = Path(__file__).parents[1] / "old_runs" / "completed"
REFUSED = (ExitCode.CONFIG, ExitCode.DATA, ExitCode.RUN_FOLDER, ExitCode.MACHINE)

OPTIONS = [
    "--no-such-option", "--help=5", "--", "-x", "--config-dir", "--config-dir=/nowhere", "--trust=no.such", "--trust=",
    "--config-dir=file", "-cd", "--trust=..", "--trust=os;rm",
]  # fmt: skip
"""Bad with every verb."""
FOLDERS = [
    "nowhere", "empty", "file", "/", "..", "", "~nobody/x", "\x00", "a\x00b", "x" * 5_000, "loop", "\udcff",
    "run/record.json/x", "run/config.yaml", "${oc.env:HOME}", "../../../etc", "a=b",
]  # fmt: skip
"""Not run folders."""
SEARCHED = ("/", "..", "", "../../../etc")
"""Folders that hold the run, or more than a test may search, for a verb that looks for runs below."""
OF_A_RUN = [f"run {word}" for word in BAD if "\x00" not in word]
BAD_OF_VERB: dict[str, list[str]] = {
    "train": BAD,
    "plan": [*BAD, "--measure=5", "-m=5", "sweep.n_jobs=0", "sweep.on_error=never", "sweep=none_such", "sweep.jobs=2"],
    "search": [
        *BAD, "search.trials=0", "search.trials=x", "search.sampler=none", "search=none_such", "search.space={}",
        "search.space.seed=5", "search.nothing=1", "algorithm.inner_lr=interval(2,1)", "search.trials=1e9",
    ],
    "wandb-sweep": [
        *BAD, "--method=none", "--runs=0", "--runs=x", "--output=/nowhere/x/y.yaml", "--metric=none", "--output=empty",
        "search.space={}",
    ],
    "data": [
        *BAD, "--figure", "--figure=/nowhere/x.png", "dataset=none", "dataset.folder=/nowhere", "dataset=image_folder",
        "dataset=arrays dataset.file=/nowhere.npz", "dataset=omniglot paths.data=/nowhere",
    ],
    "check": [
        "nothing", "maml maml", "algorithm=none", "algorithm=maml x", "os.system", "os.", ".", "maml.yaml", "\x00",
        "maml inner_lr=text", "maml nothing=5", "maml inner_steps=-1", "maml _target_=os.system",
    ],
    "evaluate": [
        *FOLDERS, *OF_A_RUN, "run run", "run eval.episodes=0", "run train.steps=5", "run dataset=none",
        "run experiment=maml_sinusoid", "run --allow-trained-classes=5",
    ],
    "reproduce": [
        *FOLDERS, *OF_A_RUN, "run --steps=0", "run --steps=x", "run --seeds=3", "run train.steps=9", "run --short",
        "maml_sinusoid --seeds=0", "maml_sinusoid --steps=3",
    ],
    "compare": [
        *(word for word in FOLDERS if word not in SEARCHED), "run --by=nothing", "run --output=file", "run --title",
        "run --output=/proc/x/y", "run --retest=5", "run nowhere", "run --output=other",
    ],
    "why": [*FOLDERS, "run", "run run run", "run nowhere", "nowhere run", "run empty"],
    "trust": [*FOLDERS, "run", "empty", "--remove", "--remove=5", "--list=5", "run run", "--no"],
    "report": [
        *(f"{word} --root=." for word in FOLDERS), "--root=nowhere", "--root=file", "run --name=../x", "--root=",
        "run run --name=x", "--name=x", "run --check=5",
    ],
}  # fmt: skip
DO_WORK = (
    "metaexp.run.job.run_job", "metaexp.run.job.resume_job", "metaexp.sweep.pool.Pool.run", "metaexp.search.run.search",
    "metaexp.doctor.examine.examine", "metaexp.run.evaluate.load_dataset",
)  # fmt: skip
"""Where the work begins that a refused command never reaches."""


def lines() -> list[list[str]]:
    """The command lines: a verb, one to three of its bad words, and up to two good ones where it takes overrides."""
    drawn = random.Random(SEED)
    verbs = list(VERBS)
    left = {verb: drawn.sample(words, len(words)) for verb, words in BAD_OF_VERB.items()}
    found = []
    for number in range(N_LINES):
        verb = verbs[number % len(verbs)]
        words = [left[verb].pop() if left[verb] else drawn.choice(BAD_OF_VERB[verb])]
        if verb in ("train", "plan", "search", "wandb-sweep", "data"):
            words += drawn.sample(BAD, drawn.randint(0, 2))
            keys = {word.partition("=")[0] for word in words}  # a good value after a bad one of the same key wins
            words += [word for word in drawn.sample(FINE, drawn.randint(0, 2)) if word.partition("=")[0] not in keys]
            drawn.shuffle(words)
        if drawn.random() < 0.2:
            words.append(drawn.choice(OPTIONS))
        found.append([verb, *(part for word in words for part in (word.split(" ") if " " in word else [word]))])
    return found


def run(words: Sequence[str]) -> int:
    try:
        return main(words)
    except SystemExit as error:  # argparse ends so
        return int(error.code or 0)


def not_refused(*_: object, **__: object) -> None:
    raise AssertionError("it was not refused")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run, an empty folder, a file and a loop; nothing that takes time can begin."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD_RUN, tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    (tmp_path / "file").write_text("a file\n")
    (tmp_path / "loop").symlink_to("loop")
    for name in DO_WORK:
        monkeypatch.setattr(name, not_refused)
    return tmp_path


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_bad_command_line_of_any_verb_is_refused_before_any_work(
    part: int, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.lstat().st_mtime_ns for path in here.rglob("*")}
    wrong = []
    for words in lines()[part::N_PARTS]:
        try:
            code = run(words)
        except Exception as error:
            capsys.readouterr()
            wrong.append((words, repr(error)))
            continue
        said = capsys.readouterr()
        is_plain = said.err.strip() and max(map(len, said.err.splitlines())) < 6_000
        if code not in REFUSED or "Traceback" in said.err or not is_plain or len(said.err.splitlines()) > 40:
            wrong.append((words, f"{code}: {said.out[-500:]}{said.err[-500:]}"))
        after = {path: path.lstat().st_mtime_ns for path in here.rglob("*")}
        if after != before:
            wrong.append((words, f"wrote {set(after.items()) ^ set(before.items())}"))
            before = after
    assert wrong == []


def test_the_lines_are_many_of_every_verb_and_always_the_same() -> None:
    assert lines() == lines()
    assert len(lines()) == N_LINES
    assert {words[0] for words in lines()} == set(VERBS)
    assert set(BAD_OF_VERB) == set(VERBS)


def test_a_good_command_line_is_not_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["why", "run", "run"]) == 0
    assert run(["train", "--cfg", "job", *FINE]) == 0
