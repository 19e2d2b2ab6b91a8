"""Runs the blocks of pages from the top, each page in an empty folder.

usage: walker.py INSTALLED FOLDER PAGE..., where INSTALLED holds the metaexp to be used. A page is walked along in a
process forked from this one, in a folder of its name below FOLDER; what it printed is in the file .log beside it. The
exit code is 1 if a page failed.

A block of Python or YAML whose first line is a comment with a path is a file. ``py`` is run. Of ``sh``, metaexp and
python are called in this process, and cd and LaTeX do what they say. Runs are cut to a few steps.
"""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHORT = ["train.steps=2", "train.eval_episodes=4", "eval.episodes=8", "device=cpu", "device.threads=1"]
QUICK = '"train.steps=4", "train.eval_every=1", "train.eval_episodes=8", "eval.episodes=20", "device.threads=1"'
SMALL = {"model=resnet12": ["model.widths=[4,4,4,4]"], "dataset=glyphs": ["dataset.train_classes=70"]}


def short(words: list[str]) -> list[str]:
    """The words of one command, cut to a few steps."""
    more = [word for key, added in SMALL.items() if key in words for word in added]
    if words[0] == "train":
        return [*words, *SHORT, *more, "train.meta_batch_size=4", "tracker=files"]
    return [*words, *SHORT, *more, "train.meta_batch_size=4"] if words[0] == "plan" else words


def run_command(line: str) -> None:
    """Run one line of a shell."""
    from metaexp.cli.main import main

    words = shlex.split(line.replace("seed=0,1,2", "seed=0,1").replace("k_shot=3,5", "k_shot=3"))
    if words[0] == "metaexp":
        code = main(short(words[1:]))
        if code:
            raise SystemExit(f"{line} ended with {code}")
    elif words[0] == "python":
        runpy.run_path(words[1], run_name="__main__")
    elif words[0] == "cd":
        os.chdir(words[1])
    elif words[0] in ("pdflatex", "bibtex"):
        if shutil.which(words[0]):
            options = ["-interaction=nonstopmode", "-halt-on-error"] if words[0] == "pdflatex" else []
            subprocess.run([words[0], *options, *words[1:]], check=True, stdout=subprocess.DEVNULL)
    else:
        raise SystemExit(f"nothing knows how to run {words[0]}")


def walk(text: str) -> None:
    """Run every block. What takes longer than these runs is left out: figures that the page does not show, processes
    for jobs, and the large images of ``check``.
    """
    if "metaexp train" in text and "run.figures" not in text:
        from metaexp.run import outputs

        outputs.draw = lambda *_: {}
    if "metaexp train -m" in text:
        import forking

        from metaexp.sweep.processes import warm_start

        warm_start.start, warm_start.can_fork = forking.start, lambda: False
    if "metaexp check" in text:
        from metaexp.doctor import network

        network.SHAPES = {"colour images, 3 x 16 x 16": (3, 16, 16)}
    names: dict[str, Any] = {"__name__": "__main__"}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        first, _, rest = block.partition("\n")
        print(f"-- {language}: {first}", flush=True)
        if language in ("python", "yaml"):
            place = Path(first.removeprefix("# "))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(rest, encoding="utf-8")
        elif language == "py":
            exec(block.replace('"train.steps=200"', QUICK), names)
        elif language == "sh":
            for line in block.splitlines():
                run_command(line)


def walk_in_child(page: Path, folder: Path) -> int:
    """Walk along a page in a forked process, as a user without settings and data; its exit code."""
    import forking

    place = folder / page.stem

    def action() -> int:
        place.mkdir()
        os.chdir(place)
        os.environ["METAEXP_DATA"] = str(place / "data")
        os.environ["XDG_CONFIG_HOME"] = str(folder / f"{page.stem} config")
        walk(page.read_text(encoding="utf-8"))
        return 0

    return os.waitstatus_to_exitcode(os.waitpid(forking.fork(action, Path(f"{place}.log")), 0)[1])


def main(folder: str, pages: Sequence[str]) -> int:
    """Walk along the pages."""
    if len(pages) > 1:
        for name in ("metaexp.run.job", "metaexp.run.figures", "metaexp.doctor.network"):
            importlib.import_module(name)  # once, not for every page
    return max(abs(walk_in_child(Path(page), Path(folder))) for page in pages)


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]  # in place of this file's folder, and before the packages of this environment
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    import metaexp

    print(f"metaexp of {Path(metaexp.__file__).parents[1]}", flush=True)
    sys.exit(main(sys.argv[2], sys.argv[3:]))
