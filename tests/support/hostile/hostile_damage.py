"""Run folders as a stranger or an accident could leave them: each damage is drawn from a seed and named.

``{out}`` in a damage stands for a folder outside the run folder, which nothing may read or write.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import safetensors.torch
import torch

PLACES = (
    "record.json", "config.yaml", "choices.yaml", "metrics.jsonl", "timings.jsonl", "test_episodes.csv", "run.log",
    ".lock", "checkpoints", "checkpoints/best.json", "checkpoints/best.safetensors", "checkpoints/NEWEST.json",
    "checkpoints/NEWEST.safetensors", "plots", "plots/learning_curve.png", "evaluations", "evaluations/later.json",
    "evaluations/later.csv", "code", "wandb", "tensorboard", ".hydra", ".hydra/config.yaml", "README.md",
)  # fmt: skip
TEXTS = (
    "record.json", "config.yaml", "choices.yaml", "metrics.jsonl", "timings.jsonl", "test_episodes.csv",
    "checkpoints/best.json", "checkpoints/NEWEST.json", "evaluations/later.json", "evaluations/later.csv",
)  # fmt: skip
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b5m\r\x08\x00"
BIDI = "\u202e\u2066gnp.\u2069\u200f"
MARKUP = "[red]x[/red]</script><img src=x-hostile onerror=alert(1)>[a](javascript:alert(1)) \\input{x-hostile} =cmd|x"
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 10**400, -(2**63), 1e308, float("nan"), float("inf"), float("-inf"), "", "NaN", "x" * 100_000,
    ESCAPES, BIDI, MARKUP, [], {}, [[]], {"a": {"b": []}}, "../../outside/victim", "/etc/hostname", "null",
    "${oc.env:HOSTILE_SECRET}", "${seed}", "\ud800", "línea\nother", "~", ".", "a/b",
)  # fmt: skip


class Damage(NamedTuple):
    """One case. ``made`` changes a run folder; ``is_forged``: digests were made to fit, so no reader can know."""

    kind: str
    name: str
    base: str
    made: Callable[[Path, random.Random], None]
    is_forged: bool = False
    folder: str = "case"


def place(folder: Path, name: str) -> Path:
    """The path of one of :data:`PLACES`, whose parents are there."""
    if "NEWEST" in name:
        newest = sorted(path.stem for path in (folder / "checkpoints").glob("step_*.json"))
        name = name.replace("NEWEST", newest[-1] if newest else "step_000000012")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return folder / name


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# What stands in the place of a file or a folder.


def _root(path: Path) -> Path:
    """The folder that holds the run folders and, beside them, ``outside``."""
    return next(parent.parent for parent in path.parents if parent.name == "runs")


def link_to_file(path: Path, draw: random.Random) -> None:
    suffixes = [path.suffix] if path.suffix else [".json", ""]
    path.symlink_to(_root(path) / "outside" / f"victim{draw.choice(suffixes)}")


def link_to_folder(path: Path, _: random.Random) -> None:
    path.symlink_to(_root(path) / "outside" / "folder")


def relative_link(path: Path, _: random.Random) -> None:
    path.symlink_to(os.path.relpath(_root(path) / "outside" / f"victim{path.suffix}", path.parent))


def broken_link(path: Path, _: random.Random) -> None:
    path.symlink_to(_root(path) / "outside" / "not there yet")


def loop(path: Path, _: random.Random) -> None:
    path.symlink_to(path.name)


def endless(path: Path, _: random.Random) -> None:
    path.symlink_to("/dev/zero")


def fifo(path: Path, _: random.Random) -> None:
    os.mkfifo(path)


def listening(path: Path, _: random.Random) -> None:
    with TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as made:  # a socket's path has few letters
        made.bind(f"{short}/s")
        Path(short, "s").rename(path)


def other_type(path: Path, _: random.Random) -> None:
    if path.suffix or path.name == ".lock":
        path.mkdir()
    else:
        path.write_bytes(b"a file")


SPECIAL = (link_to_file, link_to_folder, relative_link, broken_link, loop, endless, fifo, listening, other_type)


def in_place(kind: Callable[[Path, random.Random], None], name: str) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, draw: random.Random) -> None:
        path = place(folder, name)
        remove(path)
        kind(path, draw)

    return made


def inside_foreign(folder: Path, draw: random.Random) -> None:
    """A link in a folder that W&B or TensorBoard fills."""
    path = folder / draw.choice(["wandb", "tensorboard"]) / draw.choice(["debug.log", "latest-run", "run-id", "x"])
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(_root(path) / "outside" / draw.choice(["victim", "folder"]))


# What stands in a file.


def truncated(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))] if content else b""


def flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content or b"x")
    for _ in range(draw.choice([1, 1, 8])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def a_digit(content: bytes, draw: random.Random) -> bytes:
    """Another digit in the place of one of a number, which hardly anybody sees."""
    found = [i for i, byte in enumerate(content) if 48 <= byte <= 56]
    at = draw.choice(found) if found else 0
    return content[:at] + bytes([content[at] + 1]) + content[at + 1 :] if found else content + b"1"


CONTENTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda *_: b"",
    "truncated": truncated,
    "flipped": flipped,
    "a digit": a_digit,
    "zeros": lambda content, _: bytes(len(content)),
    "noise": lambda content, draw: draw.randbytes(len(content)),
    "twice": lambda content, _: content * 2,
    "mark": lambda content, _: b"\xef\xbb\xbf" + content,
    "utf-16": lambda content, _: content.decode("utf-8", "replace").encode("utf-16"),
    "latin-1": lambda content, _: content.replace(b"e", b"\xe9"),
    "deep JSON": lambda *_: b"[" * 200_000 + b"]" * 200_000,
    "deep objects": lambda *_: b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
    "long number": lambda *_: b'{"step": ' + b"9" * 100_000 + b"}\n",
    "no object": lambda _, draw: draw.choice([b"null", b"5", b'"text"', b"[]", b"{}", b"NaN", b"true", b"[1, 2]\n"]),
    "pickle": lambda *_: pickle.dumps(Trap()),
    "long line": lambda *_: b"x" * 5_000_000,
}


class Trap:
    """Unpickled, it writes a file outside."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch $HOSTILE_OUTSIDE/unpickled",)


def with_content(name: str, how: str) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, draw: random.Random) -> None:
        path = place(folder, name)
        before = path.read_bytes() if path.is_file() else b"{}"
        path.write_bytes(CONTENTS[how](before, draw))

    return made


def huge(name: str) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, _: random.Random) -> None:
        path = place(folder, name)
        path.touch()
        os.truncate(path, 1 << 40)

    return made


# What stands at a key.


def _keys(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _keys(item)


def mutated(content: Any, draw: random.Random) -> None:
    """Change, drop or add a value somewhere."""
    for _ in range(draw.choice([1, 1, 1, 3])):
        there = list(_keys(content))
        if not there:  # all of it was dropped
            return
        where, key = draw.choice(there)
        deed = draw.choice(["set", "set", "set", "drop", "add"])
        if deed == "set":
            where[key] = draw.choice(STRANGE)
        elif deed == "drop":
            del where[key]
        elif isinstance(where, dict):
            where[draw.choice(["more", "", ESCAPES, "../x", "_target_"])] = draw.choice(STRANGE)
        else:
            where.append(draw.choice(STRANGE))


def key_changed(name: str, *, is_forged: bool = False) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, draw: random.Random) -> None:
        path = place(folder, name)
        if name.endswith(".jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else [{}]
            mutated(lines, draw)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            return
        content = json.loads(path.read_text()) if path.exists() else {}
        mutated(content["values"] if is_forged else content, draw)
        if is_forged:
            text = json.dumps(content["values"], sort_keys=True).encode()
            content["sha256"]["values"] = hashlib.sha256(text).hexdigest()
        path.write_text(json.dumps(content))

    return made


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with the digest that fits: only then does anybody print its texts."""
    fields = {key: value for key, value in record.items() if key != "digest"}
    return fields | {"digest": hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()}


def texts_of_record(text: str) -> Callable[[Path, random.Random], None]:
    """The text in the place of every text of a record but its status, its times and its hashes."""
    kept = {"status", "config_hash", "kind", "metric", "started", "finished", "config", "episode_bank", "data_hash"}
    kept |= {"test_episodes_sha256"}

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key in kept else changed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [changed(item) for item in value] or [text] * 0
        return text if isinstance(value, str) else value

    def made(folder: Path, _: random.Random) -> None:
        path = folder / "record.json"
        record = changed(json.loads(path.read_text()))
        record |= {"overrides": [text], "deviations": [text], "experiment": text, "versions": {text: text}}
        path.write_text(json.dumps(sealed(record)))

    return made


def name_of_record(text: str) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, draw: random.Random) -> None:
        path = folder / "record.json"
        record = json.loads(path.read_text()) | {draw.choice(["name", "experiment", "group", "dataset"]): text}
        path.write_text(json.dumps(sealed(record)))

    return made


# What stands in a configuration.


def aliases() -> str:
    lines = ["a0: &a0 x"]
    return "\n".join(lines + [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)])


def doubling() -> str:
    return "\n".join(["b0: x"] + [f"b{i}: ${{b{i - 1}}}${{b{i - 1}}}" for i in range(1, 60)])


YAML: dict[str, str] = {
    "alias bomb": aliases(),
    "interpolation bomb": doubling(),
    "alias of itself": "a: &a [*a, *a]",
    "python object": "a: !!python/object/apply:os.system ['touch $HOSTILE_OUTSIDE/made']",
    "python name": "a: !!python/name:os.system",
    "merge key": "a: &a {b: 1}\nc: {<<: *a}",
    "secret": "tracker: {wandb: {project: '${oc.env:HOSTILE_SECRET}'}}",
    "secret path": "paths: {data: '${oc.env:HOSTILE_SECRET}', outputs: x}",
    "foreign class": "algorithm: {_target_: os.system, command: 'touch $HOSTILE_OUTSIDE/made'}",
    "foreign optimizer": "optimizer: {_target_: subprocess.run, args: [touch, x]}",
    "nested class": "model: {_target_: tiny_runs.Net, width: {_target_: os.getcwd}, dropout: 0.1}",
    "callbacks": "hydra: {callbacks: {a: {_target_: os.system}}}",
    "enormous batch": "train: {meta_batch_size: 10000000}",
    "enormous task": "task: {n_way: 0, k_shot: 900000000, n_query: 3}",
    "enormous net": "model: {_target_: tiny_runs.Net, width: 900000000, dropout: 0.1}",
    "enormous test": "eval: {episodes: 100000000000, seed: 1000}",
    "threads": "device: {accelerator: cpu, precision: float32, threads: 100000, deterministic: true, task_chunk: null}",
    "outputs elsewhere": "paths: {data: data, outputs: '{out}/outputs'}",
    "data elsewhere": "paths: {data: '{out}/data', outputs: outputs}",
    "escapes": f"tracker: {{{json.dumps(ESCAPES)}: {json.dumps(MARKUP)}}}",
    "unknown": "more: 1",
    "not text": "1: 2\nnull: 3\n[a, b]: 4",
    "many lines": "\n".join(f"k{i}: {i}" for i in range(50_000)),
    "deep": "x: " + "[" * 4_000 + "]" * 4_000,
    "dates": "a: 2001-01-01\nb: !!binary aGk=\nc: !!set {x, y}",
    "seed": "seed: 77",
}


def in_config(name: str) -> Callable[[Path, random.Random], None]:
    """The configuration with sections in the place of its own."""

    def made(folder: Path, _: random.Random) -> None:
        path = folder / "config.yaml"
        section = YAML[name].replace("{out}", str(_root(path) / "outside"))
        kept, skipping = [], False
        top = section.partition(":")[0]
        for line in path.read_text().splitlines():
            skipping = line.startswith(f"{top}:") or (skipping and line[:1] in (" ", "-"))
            kept += [] if skipping else [line]
        path.write_text("\n".join([*kept, section, ""]), encoding="utf-8", errors="surrogatepass")

    return made


# What stands in weights.


def forge(folder: Path, tensors: dict[str, torch.Tensor], name: str) -> None:
    """Write tensors with the digest that fits."""
    content = safetensors.torch.save(tensors)
    place(folder, f"checkpoints/{name}.safetensors").write_bytes(content)
    path = place(folder, f"checkpoints/{name}.json")
    manifest = json.loads(path.read_text())
    manifest["sha256"]["tensors"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest))


def _dropped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(list(tensors.items())[1:])


WEIGHTS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "other shapes": lambda t: {key: torch.zeros(3, 5) for key in t},
    "other types": lambda t: {key: value.to(torch.int8) for key, value in t.items()},
    "complex": lambda t: {key: value.to(torch.complex64) for key, value in t.items()},
    "not finite": lambda t: {key: torch.full_like(value, float("nan")) for key, value in t.items()},
    "without one": _dropped,
    "without any": lambda _: {},
    "other names": lambda t: {f"x.{ESCAPES}.{key}": value for key, value in t.items()},
    "one more": lambda t: {**t, "more": torch.zeros(2)},
}


def weights(name: str, how: str) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, _: random.Random) -> None:
        path = place(folder, f"checkpoints/{name}.safetensors")
        forge(folder, WEIGHTS[how](safetensors.torch.load(path.read_bytes())), path.stem)

    return made


def tensors_file(how: str) -> Callable[[Path, random.Random], None]:
    """A file of weights that is none, with the digest that fits."""
    contents = {
        "pickle": pickle.dumps(Trap()),
        "long header": (1 << 62).to_bytes(8, "little") + b"{}",
        "deep header": (400_000).to_bytes(8, "little") + b"[" * 400_000,
        "empty": b"",
    }

    def made(folder: Path, draw: random.Random) -> None:
        name = draw.choice(["best", "NEWEST"])
        path, manifest = (place(folder, f"checkpoints/{name}.{suffix}") for suffix in ("safetensors", "json"))
        path.write_bytes(contents[how])
        if manifest.exists():
            values = json.loads(manifest.read_text())
            values["sha256"]["tensors"] = hashlib.sha256(contents[how]).hexdigest()
            manifest.write_text(json.dumps(values))

    return made


def more_files(folder: Path, draw: random.Random) -> None:
    """Files that no run writes, among them pickles with the names of checkpoints."""
    for name in draw.sample(["best.pt", "last.ckpt", "step_1.pkl", "step_999999999999.json", "step_000000099.json"], 3):
        (folder / "checkpoints" / name).write_bytes(pickle.dumps(Trap()))


def from_other_run(name: str) -> Callable[[Path, random.Random], None]:
    """A file of a run with another seed in the place of this one's."""

    def made(folder: Path, _: random.Random) -> None:
        other = folder.parent / "other"
        for path in sorted(other.glob(f"{name}*")):
            target = folder / path.relative_to(other)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())

    return made


def closed(name: str, mode: int) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, _: random.Random) -> None:
        path = place(folder, name)
        if path.exists():
            path.chmod(mode)

    return made


def gone(name: str) -> Callable[[Path, random.Random], None]:
    def made(folder: Path, _: random.Random) -> None:
        remove(place(folder, name))

    return made


def nothing(folder: Path, _: random.Random) -> None:
    """No damage: the number must be what it was."""


FOLDERS = {
    "escapes": "a\x1b[31mb\x1b]0;x\x07", "bidi": f"a{BIDI}", "markup": "[red]<img src=x-hostile>&$(touch x)",
    "newline": "a\nb", "equals": "a=b,c", "blank": " a b ", "long": "x" * 250, "bytes": "a\udcffb", "dash": "-rf",
}  # fmt: skip


@functools.cache
def catalogue() -> dict[str, list[Damage]]:
    """Kind -> every damage of the kind."""
    pairs = [(kind, name) for kind in SPECIAL for name in PLACES]
    both = ("completed", "interrupted")
    names = {"up": "../../outside/folder", "absolute": "/tmp/x", "escapes": ESCAPES, "bidi": BIDI, "long": "x" * 9_000}
    names |= {"dots": "..", "empty": "", "nul": "a\0b", "hidden": ".git"}
    found = [Damage("links and special files", f"{k.__name__} {n}", "", in_place(k, n)) for k, n in pairs]
    found += [Damage("links and special files", "in wandb or tensorboard", "", inside_foreign)] * 8
    found += [Damage("contents", f"{how} {name}", "", with_content(name, how)) for name in TEXTS for how in CONTENTS]
    found += [
        Damage("contents", f"{how} {name}", "", with_content(name, how))
        for name in ("checkpoints/best.safetensors", "checkpoints/NEWEST.safetensors")
        for how in ("empty", "truncated", "flipped", "zeros", "noise", "twice")
    ]  # fmt: skip
    found += [Damage("contents", f"terabyte {name}", "", huge(name)) for name in PLACES if "." in name]
    for name in ("record.json", "checkpoints/best.json", "checkpoints/NEWEST.json", "evaluations/later.json"):
        found += [Damage("values", f"key of {name}", base, key_changed(name)) for base in both] * 4
    for name in ("metrics.jsonl", "timings.jsonl"):
        found += [Damage("values", f"key of {name}", "interrupted", key_changed(name))]
    forged = [("checkpoints/best.json", "completed"), ("checkpoints/NEWEST.json", "interrupted")]
    found += [
        Damage("values", f"key of {n}, digest made to fit", base, key_changed(n, is_forged=True), True)
        for n, base in forged * 6
    ]
    texts = {"escapes": ESCAPES, "bidi": BIDI, "markup": MARKUP}
    found += [Damage("names", f"{n} in all texts", "", texts_of_record(text)) for n, text in texts.items()] * 2
    found += [Damage("names", f"{n} in the record", "completed", name_of_record(text)) for n, text in names.items()] * 2
    found += [Damage("names", f"{n} in the folder's name", "", nothing, folder=f) for n, f in FOLDERS.items()]
    found += [Damage("configuration", name, base, in_config(name)) for name in YAML for base in both]
    found += [Damage("weights", f"best: {how}", "completed", weights("best", how), True) for how in WEIGHTS]
    found += [Damage("weights", f"newest: {how}", "interrupted", weights("NEWEST", how), True) for how in WEIGHTS]
    found += [Damage("weights", f"{how} in a file", "", tensors_file(how), True) for how in
              ("pickle", "long header", "deep header", "empty")]  # fmt: skip
    found += [Damage("weights", "pickles beside", "", more_files)]
    swaps = ("checkpoints/best", "checkpoints/", "config", "record", "metrics", "test_ep", "evaluations/")
    found += [Damage("another run's", name, "completed", from_other_run(name)) for name in swaps]
    found += [Damage("missing", name, "", gone(name)) for name in PLACES]
    found += [Damage("rights", f"{name} {mode:o}", "", closed(name, mode)) for name in (*PLACES, ".")
              for mode in (0o000, 0o444 if "." in name[1:] else 0o555)]  # fmt: skip
    found += [Damage("none", base, base, nothing) for base in both]
    kinds: dict[str, list[Damage]] = {}
    for damage in found:
        kinds.setdefault(damage.kind, []).append(damage)
    return kinds


def planned(cases: int, seed: int) -> list[Damage]:
    """``cases`` damages: every kind in turn as often as it has members, in an order that the seed draws."""
    draw = random.Random(seed)
    kinds = {kind: draw.sample(damages, len(damages)) for kind, damages in catalogue().items()}
    total = sum(map(len, kinds.values()))
    chosen = [d for damages in kinds.values() for d in damages[: max(2, cases * len(damages) // total)]]
    left = [d for damages in kinds.values() for d in damages[max(2, cases * len(damages) // total) :]]
    chosen += draw.sample(left, max(0, cases - len(chosen)))
    return draw.sample(chosen, min(cases, len(chosen)))
