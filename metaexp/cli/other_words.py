"""Words that people type because other programs, or other verbs, have them, and the command of metaexp for each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Mapping, Sequence
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


_MANY = ("-m", "--multirun")
_WITHOUT = {
    "search": "a search starts its own jobs, one for each trial",
    "evaluate": "each run is tested with every combination of the values",
    "wandb-sweep": "the agents of Weights & Biases start the jobs",
}
"""What the verbs do by themselves for which others need ``-m``."""
OTHER_OPTIONS = {
    ("-c", "--cfg", "--resolve"): (
        "is an option of metaexp train. `metaexp train --cfg job OVERRIDE ...` prints the configuration of a run "
        "before it starts; that of an earlier run is config.yaml in its folder"
    ),
    ("--info",): (
        "is an option of metaexp train. `metaexp train --info OVERRIDE ...` lists the files that a configuration is "
        "made of"
    ),
    ("--package",): "is an option of metaexp train: `metaexp train --cfg job --package KEY` prints a part",
    (
        "-cn",
        "--config-name",
    ): "is an option of metaexp train, plan, search and wandb-sweep, which compose a new configuration",
    ("-cp", "--config-path"): "is Hydra's. Configuration files of your own are added with --config-dir DIR",
    ("--hydra-help",): "is Hydra's. `metaexp train --help` lists options, groups and their choices",
    ("-sc", "--shell-completion"): "is Hydra's. `metaexp completion` prints the script with which a shell completes",
    ("--experimental-rerun",): "is Hydra's. `metaexp reproduce RUN` repeats a run and compares",
}
"""Options of ``metaexp train``, or of Hydra, and what is to be said where a verb has not got them."""


def format_other_option(verb: str, words: Sequence[str], known: Container[str]) -> str:
    """Return a sentence about the first option that another verb, or Hydra, has and this one has not; or "".

    Args:
        verb: The verb.
        words: The arguments after it.
        known: The options that it has.
    """
    options = words[: words.index("--")] if "--" in words else words
    for number, word in enumerate(options):
        name = word.partition("=")[0]
        if name in known:
            continue
        if word in _MANY:
            why = _WITHOUT.get(verb, "metaexp train and metaexp plan have it, for several values of a key")
            rest = [*words[:number], *words[number + 1 :]]
            return f"there is no {word} here: {why}. Leave it out: `{shlex.join(['metaexp', verb, *rest])}`."
        for names, what in OTHER_OPTIONS.items():
            if name in names:
                return f"{name} {what}."
    return ""


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
