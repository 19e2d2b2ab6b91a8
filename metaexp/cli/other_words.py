"""Words that people type because other programs have such verbs, and the command of metaexp for each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Wish(NamedTuple):
    """Something that people want, and how they get it here.

    Attributes:
        words: What other programs call it. The first that fits is taken.
        what: What it does, after "to".
        command: The command, without ``metaexp``. The folders that were given replace ``RUN`` and
            ``OTHER``.
    """

    words: str
    what: str
    command: str


WISHES = (
    Wish("resume continue restart recover requeue", "continue a run", "train resume=RUN"),
    Wish("test eval validate val score evaluation", "test a finished run", "evaluate RUN"),
    Wish("run fit start launch learn exec execute main experiment experiments", "train", "train experiment=NAME"),
    Wish("sweep multirun grid seeds", "train with each of several values", "train -m KEY=A,B,C"),
    Wish("tune optimize optimise hpo optuna hyperopt", "search for good values", "search KEY=A,B,C"),
    Wish("list ll dir runs history sweeps searches find", "list runs, sweeps and searches", "ls"),
    Wish("status progress monitor tail log logs attach top ps", "watch a run or a sweep", "watch RUN"),
    Wish("info describe inspect view open cat get plot figures summary", "see a run and its files", "show RUN"),
    Wish("delete remove del clean clear gc prune purge", "remove a run", "rm RUN"),
    Wish("diff", "list what differs between two runs", "why RUN OTHER"),
    Wish("results table rank stats significance", "compare runs", "compare RUN OTHER"),
    Wish("rerun replicate repeat replay", "repeat a run and compare", "reproduce RUN"),
    Wish("infer inference classify label", "name new images with a run", "predict RUN --support DIR --query DIR"),
    Wish("download fetch prepare dataset datasets", "find or download a dataset", "data dataset=NAME"),
    Wish("init create scaffold generate add", "start an algorithm or data of your own", "new"),
    Wish("config cfg settings options", "print the configuration of a run before it starts", "train --cfg job"),
    Wish("algorithms models groups", "list what there is to choose from", "train --help"),
    Wish("doctor lint debug", "test an algorithm, network or dataset", "check"),
    Wish("version about", "print the version", "--version"),
    Wish("wandb agent", "write a sweep file for Weights & Biases", "wandb-sweep"),
)


def format_wish(given: Sequence[str], verbs: Mapping[str, object]) -> str:
    """Return `` To continue a run: `metaexp train resume=RUN`.`` for a word of other programs, or an empty text.

    Args:
        given: The arguments after ``metaexp``. The first is not a verb.
        verbs: The verbs that there are.
    """
    word, *rest = given
    name = word.lower().lstrip("-").replace("_", "-")
    for wish in () if name in verbs else WISHES:
        if name in wish.words.split():
            return f" To {wish.what}: `metaexp {_with_folders(wish.command, rest)}`."
    if Path(word).is_dir():
        return f" A verb comes first, then a folder, such as `metaexp show {shlex.quote(word)}`."
    if "=" in word or (word.startswith("-") and name not in verbs):
        return f" A verb comes first, then the rest, such as `metaexp train {shlex.join(given)}`."
    return ""


def _with_folders(command: str, rest: Sequence[str]) -> str:
    """Put the folders that were given in place of ``RUN`` and ``OTHER``."""
    folders = [shlex.quote(word) for word in rest if Path(word).is_dir()]
    named = dict(zip(("RUN", "OTHER"), folders, strict=False))
    return re.sub(r"\b(RUN|OTHER)\b", lambda found: named.get(found[0], found[0]), command)
