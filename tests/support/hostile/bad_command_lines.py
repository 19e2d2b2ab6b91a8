"""Bad command lines of every verb, mixed at random from a seed: each must be refused before any work, in plain lines.

usage: bad_command_lines.py [--lines 400] [--seed 20261126] [--output FILE]

A line fails if it ends in an exception or with another exit code than a refusal has, reaches the work, writes anything,
or is answered with nothing, a traceback or a flood. Prints a JSON object with what was tried and what failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from bad_words import BAD, FINE

from metaexp.cli.main import VERBS
from metaexp.cli.main import main as command
from metaexp.config.project import FILE
from metaexp.core.errors import ExitCode

SEED = 20_261_126
OLD_RUN = Path(__file__).parents[2] / "old_runs" / "completed"
REFUSED = (ExitCode.CONFIG, ExitCode.DATA, ExitCode.RUN_FOLDER, ExitCode.MACHINE)
_MOST_LINES, _LONGEST_LINE = 40, 6_000
"""What an answer has at most."""

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
FINE_OF_A_SWEEP = ("seed=1,2", "seed=choice(1,2)", "sweep.n_jobs=2")
"""Bad for one run, and right for several."""
_FINE_OF_A_RUN = ("task.k_shot=19 task.n_query=19", "eval.metrics=[mae]", "task=regression_10shot")
"""The run is of regression on computed functions, which have as many examples as one likes."""
OF_A_RUN = [f"run {word}" for word in BAD if "\x00" not in word and word not in _FINE_OF_A_RUN]
PROJECTS = {
    "@no-toml": b"[trust", "@other-key": b"packages = ['x']\n", "@near-key": b"confg_dir = 'empty'\n",
    "@number": b"config_dir = 5\n", "@empty": b"config_dir = ''\n", "@nowhere": b"config_dir = 'nowhere'\n",
    "@above": b"config_dir = '..'\n", "@root": b"config_dir = '/etc'\n", "@itself": b"config_dir = '.'\n",
    "@a-file": b"config_dir = 'file'\n", "@zero": b"config_dir = \"a\\u0000b\"\n", "@text": b"trust = 'run'\n",
    "@installed": b"trust = ['numpy']\n", "@path": b"trust = ['../other']\n", "@numbers": b"trust = [1]\n",
    "@table": b"[trust]\nrun = true\n", "@nested": b"trust = " + b"[" * 5_000, "@latin": b"config_dir = '\xe9'\n",
    "@twice": b"trust = []\ntrust = []\n", "@large": b"#" * 200_000, "@escape": b"config_dir = \"\\u001b[31m\"\n",
}  # fmt: skip
"""Word -> a ``metaexp.toml`` that is wrong, for a command line that is right without it."""
BAD_OF_VERB: dict[str, list[str]] = {
    "train": [*BAD, *PROJECTS],
    "plan": [
        *(word for word in BAD if word not in FINE_OF_A_SWEEP), *(f"seed=1,2 {word}" for word in PROJECTS),
        "--measure=5", "-m=5", "sweep.n_jobs=0",
        "sweep.on_error=never", "sweep=none_such", "sweep.jobs=2",
    ],
    "search": [
        *BAD, "search.trials=0", "search.trials=x", "search.sampler=none", "search=none_such", "search.space={}",
        "search.space.seed=5", "search.nothing=1", "algorithm.inner_lr=interval(2,1)", "search.trials=1e9",
    ],
    "wandb-sweep": [
        *BAD, "--method=none", "--runs=0", "--runs=x", "--output=/nowhere/x/y.yaml", "--metric=none", "--output=empty",
        "search.space={}", "--stop-after=x",
    ],
    "data": [
        *BAD, *(f"dataset=sinusoid {word}" for word in PROJECTS),
        "--figure", "--figure=/nowhere/x.png", "dataset=none", "dataset.folder=/nowhere", "dataset=image_folder",
        "dataset=arrays dataset.file=/nowhere.npz", "dataset=omniglot paths.data=/nowhere",
    ],
    "check": [
        *(f"maml {word}" for word in PROJECTS),
        "nothing", "maml maml", "algorithm=none", "algorithm=maml x", "os.system", "os.", ".", "maml.yaml", "\x00",
        "maml inner_lr=text", "maml nothing=5", "maml inner_steps=-1", "maml _target_=os.system",
    ],
    "evaluate": [
        *(word for word in FOLDERS if word not in SEARCHED), *OF_A_RUN, *(f"run {word}" for word in PROJECTS),
        "run nowhere", "run 5", "run task.k_shot=2,0", "run eval.episodes=2 train.steps=1,2", "run eval.episodes=0",
        "run train.steps=5", "run dataset=none", "run seed=1,2",
        "run experiment=maml_sinusoid", "run --allow-trained-classes=5",
    ],
    "predict": [
        *(f"{word} --support=empty --query=empty" for word in FOLDERS), "run", "run run --support=empty --query=empty",
        "run --support=empty", "run --query=file --support=nowhere", "run --support=empty --query=empty --conformal=2",
        "run --support=file --query=file", "run --support=nowhere.npz --query=x.npz --conformal=x", "--output=file",
        "run --support=empty --query=empty --output=file", "run --support=a\x00b --query=empty", "run --episodes=0",
        "run --support=empty --query=empty --conformal=0.9 --episodes=x",
    ],
    "reproduce": [
        *FOLDERS, *OF_A_RUN, "run --steps=0", "run --steps=x", "run --seeds=3", "run train.steps=9", "run --short",
        "maml_sinusoid --seeds=0", "maml_sinusoid --steps=3", "maml_sinusoid --seeds=x", "maml_sinusoid --seeds=1.5",
    ],
    "compare": [
        *(word for word in FOLDERS if word not in SEARCHED), *(f"run {word}" for word in PROJECTS),
        "run --by=nothing", "run --output=file", "run --title",
        "run --output=/proc/x/y", "run --retest=5", "run nowhere", "run --output=other",
    ],
    "ls": [
        *(word for word in FOLDERS if word not in (*SEARCHED, "empty", "~nobody/x", "a=b")), "run state=fialed",
        "run --sort", "run nothing=5", "run seed=", "run =5", "run --sort=nothing", "run --show=a.b", "run nowhere",
        "run --json --folders", "run state=completed,none", "run algorithm.inner_lrr=0.1", "run --jobs=5",
    ],
    "show": [
        *FOLDERS, "", "run run", "run --config-dir=/nowhere", "run --trust=..", "run --json",
        *(f"run {word}" for word in PROJECTS),
    ],
    "watch": [
        *FOLDERS, "run run --once", "run --every=0", "run --every=nan", "run --every=x", "run --every=1e9",
        "run --once=1", "run/checkpoints --once", "--once", "run nowhere", "run --json",
    ],
    "rm": [
        *FOLDERS, "run", "run nowhere --yes", "other --yes", "empty --yes", "file --yes", "loop --yes", ". --yes",
        "run/record.json --yes", "run/checkpoints --yes", "--yes", "run --yess", "run --yes=1", "run ../x --yes",
    ],
    "why": [*FOLDERS, "run", "run run run", "run nowhere", "nowhere run", "run empty"],
    "new": [
        *(f"algorithm mine {word}" for word in PROJECTS),
        "", "algorithm", "maml", "algorithm maml", "model conv4", "dataset glyphs", "optimizer mine", "algorithm My",
        "algorithm a-b", "algorithm ../x", "algorithm class", "algorithm mine --regression", "algorithm 1x",
        "experiment maml_sinusoid", "algorithm mine --package=a.b", "algorithm mine --package", "dataset a b",
        "model \x00",
    ],
    "trust": [*FOLDERS, *PROJECTS, "run", "empty", "--remove", "--remove=5", "--list=5", "run run", "--no"],
    "report": [
        *(f"{word} --root=." for word in FOLDERS), "--root=nowhere", "--root=file", "run --name=../x", "--root=",
        "run run --name=x", "--name=x", "run --check=5", "--evaluations", "run --evaluations=5",
    ],
    "completion": [
        "", "tcsh", "bash zsh", "--complete", "BASH", "--shell=bash", "nowhere", "bash --no", "\x00", "--complete= x",
    ],
    "leaderboard": [
        "nowhere", "empty", "--output=x.html", "run --output=x.txt", "run --output=nowhere/x.html", "run --output",
        "run nowhere", "run --no",
    ],
}  # fmt: skip
DO_WORK = (
    "metaexp.run.job.run_job", "metaexp.run.job.resume_job", "metaexp.sweep.processes.pool.Pool.run",
    "metaexp.search.run.search",
    "metaexp.doctor.examine.examine", "metaexp.run.evaluation.aids.load_dataset", "metaexp.cli.folders.rm.remove",
)  # fmt: skip
"""Where the work begins that a refused command never reaches."""


def lines(count: int, seed: int = SEED) -> list[list[str]]:
    """The command lines: a verb, one to three of its bad words, and up to two good ones where it takes overrides."""
    drawn = random.Random(seed)
    verbs = list(VERBS)
    left = {verb: drawn.sample(words, len(words)) for verb, words in BAD_OF_VERB.items()}
    found = []
    for number in range(count):
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


class Answer(NamedTuple):
    """What a command line gave: its exit code, and what it printed."""

    code: int
    out: str
    err: str


def run(words: Sequence[str]) -> Answer:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command(words)
        except SystemExit as error:  # argparse ends so
            code = int(error.code or 0)
    return Answer(int(code), out.getvalue(), err.getvalue())


class NotRefusedError(BaseException):
    """The work began."""


def _not_refused(*_: object, **__: object) -> None:
    raise NotRefusedError


@contextlib.contextmanager
def work_in(folder: Path) -> Iterator[Path]:
    """Work in a folder with a run, an empty folder, a file and a loop, where nothing that takes time can begin."""
    here = Path.cwd()
    shutil.copytree(OLD_RUN, folder / "run")
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "precious").touch()
    (folder / "file").write_text("a file\n")
    (folder / "loop").symlink_to("loop")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(folder / "settings")}))
        for name in DO_WORK:
            stack.enter_context(mock.patch(name, _not_refused))
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(here)


def fault(words: Sequence[str], folder: Path) -> str | None:
    """What is wrong with how a bad command line is answered; None where nothing is."""
    projects = [PROJECTS[word] for word in words if word in PROJECTS]
    for content in projects[:1]:
        Path(FILE).write_bytes(content)
    try:
        return _fault([word for word in words if word not in PROJECTS], folder)
    finally:
        Path(FILE).unlink(missing_ok=True)


def _fault(words: Sequence[str], folder: Path) -> str | None:
    before = _content(folder)
    try:
        answer = run(words)
    except NotRefusedError:
        return "not refused: the work began"
    except Exception as error:
        return f"exception: {error!r}"
    if _content(folder) != before:
        return f"wrote {set(_content(folder).items()) ^ set(before.items())}"
    answered = answer.err.splitlines()
    if "Traceback" in answer.err:
        return f"traceback: {answer.err[-500:]}"
    if answer.code not in REFUSED:
        return f"exit code {answer.code}: {answer.out[-500:]}{answer.err[-500:]}"
    if not answer.err.strip() or len(answered) > _MOST_LINES or max(map(len, answered)) >= _LONGEST_LINE:
        return f"answer of {len(answered)} lines: {answer.err[:500]}"
    return None


def _content(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def try_all(given: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Give all command lines, and say what was tried and what failed."""
    tried: dict[str, int] = {}
    failed: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary, work_in(Path(temporary)) as folder:
        for words in given:
            tried[words[0]] = tried.get(words[0], 0) + 1
            found = fault(words, folder)
            failed += [] if found is None else [{"line": list(words), "fault": found}]
    return {"lines": len(given), "tried": tried, "failed": failed}


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--output", type=Path, help="where the JSON object is written too")
    options = parser.parse_args()
    found = {"seed": options.seed} | try_all(lines(options.lines, options.seed))
    text = json.dumps(found, indent=1)
    if options.output is not None:
        options.output.write_text(text + "\n")
    print(text)
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
