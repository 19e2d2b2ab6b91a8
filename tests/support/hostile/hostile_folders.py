"""Damaged and hostile run folders, given to every verb that reads one: does any let it in, hang or lie?

usage: hostile_folders.py [FOLDER] [--cases 300] [--seed 0] [--seconds 10] [--output FILE]

Each case is a copy of a small run (completed or interrupted) with one damage, drawn from a seed; each verb gets a
fresh one, in this one process. A verb may do its work or refuse with one of metaexp's own errors. Beside the run
folder lies a folder ``outside`` with files of a user: nothing may be read, changed or made there. Faults are of five
kinds:

* outside: a read or write outside the run folder, or a secret of the environment in what was printed or written;
* traceback: an error that is not one of metaexp's own;
* hang: a call that takes longer than ``--seconds``;
* number: a call that ends well with another number than that of the undamaged run;
* escape: a control character, or HTML, in what was printed or written for a reader.

Prints a JSON object with what was tried and what failed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers beside this folder

import case_runs
import hostile_damage
import numpy as np
import tiny_runs
import torch
from hostile_damage import Damage, planned
from hostile_watch import Hang, Watch, drop_rights_of_root, limit_time
from rich.console import Console

import metaexp as mx
from metaexp.cli.main import main as command
from metaexp.compare.output import write as write_module
from metaexp.compare.output.draw import Drawn
from metaexp.config.classes.targets import trust
from metaexp.core.errors import MetaexpError
from metaexp.machine.signals import Interrupted
from metaexp.results.record import read_record
from metaexp.run import outputs as outputs_module
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

MEMORY = 8 << 30
"""A call that takes more bytes has a MemoryError, which is a fault."""
SECRET = "hostile-secret-of-the-user"
OTHER = {"seed": 5, "algorithm": {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.05}}
QUIET = Lines(Console(quiet=True))


class Answer(NamedTuple):
    """What a call gave: its exit code, all that it printed, and the numbers in its answer."""

    code: int
    text: str
    numbers: list[float]


def call(*words: str) -> Answer:
    """Run a command in this process. Raises what is not one of metaexp's own errors."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = command(list(words))
        except SystemExit as error:
            code = int(error.code or 0)
    return Answer(int(code), out.getvalue(), [])


# The verbs. Each takes the run folder and says what it found.


def evaluate(run: Path) -> Answer:
    answer = call("evaluate", f"./{run}")
    if answer.code:
        return answer
    kept = max((run / "evaluations").glob("*.json"), key=lambda p: p.stat().st_mtime_ns, default=None)
    if kept is None or kept.name == "later.json":
        return answer
    return answer._replace(numbers=[json.loads(kept.read_text())["test"]["mean"]])


def resume(run: Path) -> Answer:
    answer = call("train", f"resume=./{run}")
    if answer.code or "there is nothing to continue" in answer.text:
        return answer
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    record = read_record(run)
    return answer._replace(numbers=[record.test.mean if record.test else 0.0, *(sum(line.values()) for line in lines)])


def compare(run: Path) -> Answer:
    answer = call("compare", f"./{run}", "runs/other", "--output", "compared")
    if answer.code:
        return answer
    return answer._replace(numbers=_rows(mx.compare_runs([run, Path("runs/other")])))


def compare_runs(run: Path) -> Answer:
    return Answer(0, "", _rows(mx.compare_runs([run, Path("runs/other")])))


def _rows(found: mx.Comparison) -> list[float]:
    """The mean and interval of both rows; nothing where one was left out, which is said."""
    if len(found.rows) != 2:
        return []
    return sorted(value for row in found.rows for value in (row["mean"], row["low"], row["high"]))


def why(run: Path) -> Answer:
    return call("why", f"./{run}", "runs/other")


def report(run: Path) -> Answer:
    answer = call("report", f"./{run}", "--root", "repository")
    copies = [path.parent for path in Path("repository/docs/results").glob("*/record.json")]
    if answer.code or not copies:
        return answer
    test = read_record(copies[0]).test
    return answer._replace(numbers=[test.mean, test.ci95] if test else [])


def reproduce(run: Path) -> Answer:
    answer = call("reproduce", f"./{run}")
    return answer._replace(code=0 if answer.code == 11 else answer.code)  # 11: it differs, and that is said


def further(run: Path) -> Answer:
    answer = call("train", f"from=./{run}", "train.steps=14", "hydra.run.dir=outputs/further")
    return _of_new_run(answer, Path("outputs/further"))


def weights(run: Path) -> Answer:
    begin = ["train.steps=2", f"model.weights=./{run}", "hydra.run.dir=outputs/begun"]
    return _of_new_run(call("train", "--config-dir=conf", *case_runs.COMMON, *begin), Path("outputs/begun"))


def _of_new_run(answer: Answer, made: Path) -> Answer:
    """The numbers of a run that began at the damaged one; it may not be there."""
    if answer.code:
        return answer
    test = read_record(made).test
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    return answer._replace(numbers=[test.mean if test else 0.0, *(sum(line.values()) for line in lines)])


def settings(run: Path) -> Answer:
    return call("train", f"from=./{run}", "train.steps=14", "--cfg", "job")


def leaderboard(run: Path) -> Answer:
    answer = call("leaderboard", f"./{run}", "runs/other", "--output", "repository/board.html")
    test = read_record(run).test if answer.code == 0 and f"measured again: {run.name}" in answer.text else None
    return answer._replace(numbers=[test.mean, test.ci95] if test else [])


def plan(run: Path) -> Answer:
    """Times of finished runs in the folder of outputs, of which the damaged one is one."""
    return call("plan", "--config-dir=conf", *case_runs.COMMON, "seed=0,1", f"paths.outputs=./{run.parent}")


def plan_from(run: Path) -> Answer:
    return call("plan", f"from=./{run}", "train.steps=14,15", "hydra.sweep.dir=outputs/planned")


def runs(run: Path) -> Answer:
    table = mx.runs(run)
    numbers = [float(row[key]) for row in table for key in ("test", "ci95") if isinstance(row.get(key), float)]
    text = [repr(table), *map(str, table.left_out.values())]
    return Answer(0, "\n".join(text) + re.sub(r"<[^>]*>", "", table._repr_html_()), numbers)


def ls(run: Path) -> Answer:
    """The numbers are those for a program; the text is the one for a reader."""
    answer, listed = call("ls", f"./{run}"), call("ls", f"./{run}", "--json")
    rows = json.loads(listed.text) if listed.code == 0 else []
    return answer._replace(numbers=[row[key] for row in rows for key in ("test", "ci95") if row[key] is not None])


def show(run: Path) -> Answer:
    return call("show", f"./{run}")


def watch(run: Path) -> Answer:
    return call("watch", "--once", f"./{run}")


def rm(run: Path) -> Answer:
    answer = call("rm", "--yes", f"./{run}")
    assert run.exists() == bool(answer.code), "it is gone, or it was refused"
    return answer


def predict(run: Path) -> Answer:
    answer = call("predict", f"./{run}", "--support", "known.npz", "--query", "new.npz", "--output", "predicted.csv")
    if answer.code:
        return answer
    rows = csv.DictReader(Path("predicted.csv").read_text().splitlines())
    return answer._replace(numbers=[float(value) for row in rows for key, value in row.items() if key != "name"])


def load_run(run: Path) -> Answer:
    found = mx.load_run(run)
    numbers = [value for line in found.metrics for value in line.values()]
    text = [repr(found)]
    if found.record.test is not None:
        numbers += [found.record.test.mean, *(value for step in found.test_episodes for value in step)]
    if found.record.status != "running":
        numbers += found.predict([[0.1], [0.5], [0.9], [0.2]], [[0.0], [1.0], [0.5], [1.0]], [[0.3]]).ravel().tolist()
    return Answer(0, "\n".join(text), numbers)


VERBS: dict[str, Callable[[Path], Answer]] = {
    "evaluate": evaluate, "compare": compare, "why": why, "report": report, "reproduce": reproduce, "resume": resume,
    "load_run": load_run, "compare_runs": compare_runs, "train from": further, "model.weights": weights,
    "settings": settings, "predict": predict, "leaderboard": leaderboard, "plan": plan, "plan from": plan_from,
    "runs": runs, "ls": ls, "show": show, "watch": watch, "rm": rm,
}  # fmt: skip


_BOTH = ("evaluate", "load_run", "predict", "train from", "model.weights")
MEASURED = {
    ("completed", verb) for verb in (*_BOTH, "compare", "report", "compare_runs", "leaderboard", "runs", "ls")
} | {("interrupted", verb) for verb in (*_BOTH, "resume")}
"""With what numbers are compared."""


class Field:
    """The folder in which all cases are tried, and what an undamaged run gives.

    Args:
        folder: An empty folder, which is the current one from now on.
        seconds: How long a call may take.
        verbs: The verbs that are tried.
    """

    def __init__(self, folder: Path, seconds: float, verbs: Sequence[str]) -> None:
        self.folder, self.seconds = folder, seconds
        os.chdir(folder)
        outside = folder / "outside"
        (outside / "folder").mkdir(parents=True)
        suffixes = ("", ".json", ".yaml", ".jsonl", ".csv", ".log", ".safetensors", ".png", ".md")
        for name in [*(f"victim{suffix}" for suffix in suffixes), "folder/.profile", "folder/record.json"]:
            (outside / name).write_text(json.dumps({"step": 1, "secret": SECRET}) + "\n")
        os.environ |= {"HOSTILE_OUTSIDE": str(outside), "HOSTILE_SECRET": SECRET}
        tiny_runs.write_files(case_runs.FILES, folder / "conf")
        np.savez(
            folder / "known.npz", x=np.linspace(-1, 1, 5, dtype=np.float32)[:, None], y=np.ones((5, 1), np.float32)
        )
        np.savez(folder / "new.npz", x=np.zeros((2, 1), np.float32))
        self.watch = Watch(outside)
        self.slowest = 0.0
        self.bases = {"completed": Path("bases/completed"), "interrupted": Path("bases/interrupted")}
        run_job(tiny_runs.settings(Path("outputs")), folder=self.bases["completed"], display=QUIET)
        _move(evaluate_run(self.bases["completed"], display=QUIET).path)
        run_job(tiny_runs.settings(Path("outputs")), folder=self.bases["interrupted"], display=QUIET, stop_after=7)
        run_job(tiny_runs.settings(Path("outputs"), **OTHER), folder=Path("runs/other"), display=QUIET)
        self.expected: dict[tuple[str, str], list[float]] = {}
        for base in self.bases:
            sound = Damage("none", base, base, hostile_damage.nothing)
            for verb in verbs:
                answer, faults = self.call(sound, verb, 0)
                self.expected[base, verb] = answer.numbers if answer else []
                is_used = (base, verb) in MEASURED
                assert not faults, (base, verb, faults, answer)
                assert bool(self.expected[base, verb]) == is_used, (base, verb, answer)

    def attempt(self, damage: Damage, verb: str, seed: int) -> list[str]:
        """The faults of one verb with one damaged folder."""
        answer, faults = self.call(damage, verb, seed)
        if answer is None or damage.is_forged:
            return faults
        expected = self.expected[damage.base or _base(seed), verb]
        is_said = _OLDER_CHECKPOINT.search(answer.text) is not None
        if answer.code == 0 and answer.numbers and expected and answer.numbers != expected and not is_said:
            faults.append(f"number: {answer.numbers[:4]} and not {expected[:4]}")
        return faults

    def call(self, damage: Damage, verb: str, seed: int) -> tuple[Answer | None, list[str]]:
        """What a verb says of a fresh copy of the damaged folder, and what is wrong with what it did."""
        run = self._fresh(damage, seed)
        answer, text = None, ""
        began = time.process_time()
        errors = io.StringIO()
        with (
            self.watch.record_faults() as seen,
            contextlib.redirect_stderr(errors),
            _rights(damage),
            _draw_only_names(damage),
        ):
            try:
                with limit_time(self.seconds):
                    answer = VERBS[verb](run)
                    text = answer.text
            except MetaexpError as error:
                text = str(error)
            except Interrupted as error:
                text = str(error)
            except Hang:
                seen.append(f"hang: more than {self.seconds} s")
            except BaseException:
                seen.append("traceback: " + traceback.format_exc()[-1_500:])
        self.slowest = max(self.slowest, time.process_time() - began)
        faults = [fault if fault.startswith(("hang", "traceback")) else f"outside: {fault}" for fault in seen]
        return answer, faults + _output_faults(text + errors.getvalue()) + self._left_behind()

    def _fresh(self, damage: Damage, seed: int) -> Path:
        for path in [
            *Path("runs").iterdir(),
            *map(Path, ("compared", "repository", "outputs", "data", "predicted.csv")),
        ]:
            if path.name != "other":
                _remove(path)
        Path("repository/docs/results").mkdir(parents=True)
        Path("repository/README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
        run = Path("runs", damage.folder)
        shutil.copytree(self.bases[damage.base or _base(seed)], run)
        damage.made(self.folder / run, random.Random(seed))
        return run

    def _left_behind(self) -> list[str]:
        """Secrets, control characters and HTML in what was written for a reader."""
        faults = []
        written = [p for f in ("compared", "repository", "outputs", "runs/case") for p in Path(f).rglob("*")]
        for path in written:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > 10_000_000:
                continue
            text = path.read_bytes().decode("utf-8", "replace") if os.access(path, os.R_OK) else ""
            if SECRET in text:
                faults.append(f"outside: the secret is in {path}")
            if path.parts[0] in ("compared", "repository") and path.suffix in (".md", ".html", ".csv", ".tex", ".svg"):
                if _odd(text):
                    faults.append(f"escape: {path} holds control characters")
                text = _without_code(text) if path.suffix == ".md" else text
                if (_LATEX if path.suffix == ".tex" else _HTML).search(text) and path.suffix != ".csv":
                    faults.append(f"escape: {path} holds text of the record as markup")
        return faults


_OLDER_CHECKPOINT = re.compile(r"newest whole checkpoint is of step \d+")
"""Where a run goes on from an older checkpoint because the newest one is damaged or gone, and says so."""
_HTML = re.compile(r"(?<!\\)<img src=x-hostile")
"""HTML of a record that a browser would obey. In Markdown a backslash before it makes it plain."""
_LATEX = re.compile(r"\\input\{x-hostile")


def _without_code(text: str) -> str:
    """Markdown without its blocks of code, in which nothing has a meaning."""
    return "".join(text.split("\n```")[::2])


def _output_faults(text: str) -> list[str]:
    faults = []
    if SECRET in text:
        faults.append("outside: the secret is printed")
    if "Traceback" in text:
        faults.append("traceback: printed: " + text[-1_500:])
    odd = _odd(text)
    if odd:
        faults.append(f"escape: printed {odd} in {text[:200]!r}")
    if len(text) > 50_000:
        faults.append(f"escape: {len(text)} letters printed, beginning {text[:100]!r}")
    return faults


def _odd(text: str) -> list[str]:
    """Letters that a terminal or a reader would obey: control characters, direction marks, halves of letters."""
    return sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\r\t"})


def _base(seed: int) -> str:
    return ("completed", "interrupted")[seed % 2]


def _move(path: Path | None) -> None:
    """Give the evaluation a name that does not depend on the version."""
    assert path is not None
    for suffix in (".json", ".csv"):
        path.with_suffix(suffix).rename(path.with_name(f"later{suffix}"))


@contextlib.contextmanager
def _draw_only_names(damage: Damage) -> Iterator[None]:
    """Figures take longer than all else, so a comparison draws its own only where names stand in them."""
    drawn = write_module.draw
    if damage.kind != "names":
        write_module.draw = lambda data: Drawn(svg="<svg></svg>", png=b"")
    try:
        yield
    finally:
        write_module.draw = drawn


def _rights(damage: Damage) -> contextlib.AbstractContextManager[None]:
    return drop_rights_of_root() if damage.kind == "rights" else contextlib.nullcontext()


def _remove(path: Path) -> None:
    """Remove a folder, whatever its files' modes are."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(0o755)
    shutil.rmtree(path)


@contextlib.contextmanager
def open_field(folder: Path, seconds: float, verbs: Sequence[str] = tuple(VERBS)) -> Iterator[Field]:
    """Open a field, with what the runs need; afterwards the process is where it was."""
    here, draw = Path.cwd(), outputs_module.draw
    memory = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, memory[1]))
    for package in case_runs.TRUSTED:
        trust(package)
    outputs_module.draw = lambda *_: {}  # figures take longer than these runs
    torch.set_num_threads(1)
    try:
        yield Field(folder.resolve(), seconds, verbs)
    finally:
        os.chdir(here)
        resource.setrlimit(resource.RLIMIT_DATA, memory)
        outputs_module.draw = draw


def fuzz(folder: Path, cases: int, seed: int, seconds: float, verbs: Sequence[str] = tuple(VERBS)) -> dict[str, Any]:
    """Try all cases, and say what was tried and what failed."""
    tried: dict[str, int] = {}
    faults: list[dict[str, Any]] = []
    with open_field(folder, seconds, verbs) as ground:
        for number, damage in enumerate(planned(cases, seed)):
            tried[damage.kind] = tried.get(damage.kind, 0) + 1
            for verb in verbs:
                found = ground.attempt(damage, verb, seed * 1_000_003 + number)
                where = {"case": number, "damage": f"{damage.kind}: {damage.name}", "verb": verb}
                faults += [where | {"fault": fault} for fault in found]
                for fault in found:
                    print(f"{where}: {fault}", file=sys.stderr, flush=True)
        slowest = round(ground.slowest, 2)
    kinds = ("outside", "traceback", "hang", "number", "escape")
    counts = {kind: sum(item["fault"].startswith(kind) for item in faults) for kind in kinds}
    return {
        "cases": sum(tried.values()), "verbs": list(verbs), "calls": sum(tried.values()) * len(verbs), "seed": seed,
        "seconds": seconds, "tried": tried, "slowest_seconds": slowest, "failed": counts, "faults": faults,
    }  # fmt: skip


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="an empty folder; a temporary one by default")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a call may take")
    parser.add_argument("--verbs", nargs="*", default=list(VERBS), choices=list(VERBS))
    parser.add_argument("--output", type=Path, help="the record that this round is added to")
    given = parser.parse_args()
    output = given.output and given.output.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        found = fuzz(given.folder or Path(temporary), given.cases, given.seed, given.seconds, given.verbs)
    if output is not None:
        rounds = json.loads(output.read_text())["rounds"] if output.exists() else []
        rounds = sorted([*(r for r in rounds if r["seed"] != found["seed"]), found], key=lambda r: r["seed"])
        output.write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
