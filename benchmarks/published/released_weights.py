r"""The weights that the authors of Relation Networks released, tested on our episodes by our code.

Their repository, github.com/floodsung/LearningToCompare_FSL, has two files for each task in ``omniglot/models``: of
the embedding and of the relation module. Give that folder. Omniglot must be in METAEXP_DATA or in the cache::

    python benchmarks/published/released_weights.py --measure LearningToCompare_FSL/omniglot/models \
        --page docs/ablations.md
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing
import torch
from ablations import interval, percent
from pages import page_parser, write_page
from torch import Tensor

from metaexp.config.compose import Composer
from metaexp.core.errors import RunFolderError
from metaexp.core.terminal_text import print_text
from metaexp.machine.device import use_device
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.run.build import build
from metaexp.run.chunk_size import tasks_at_once
from metaexp.run.evaluation.evaluator import Evaluator

RECORD: Final = Path(__file__).resolve().parents[1] / "records" / "released_weights.json"
TASKS: Final = ("5way_1shot", "5way_5shot", "20way_1shot", "20way_5shot")
MODES: Final = ("transductive", "running")
_BLOCK: Final = re.compile(r"layer(\d)\.([01])\.(\w+)")


def tensors_of(folder: Path, task: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the two files of a task: the tensors by our names, and the SHA-256 of each file.

    Args:
        folder: ``omniglot/models`` of the authors' repository.
        task: Such as ``5way_1shot``.

    Raises:
        RunFolderError: A file is not there, or holds other tensors than the authors'.
    """
    tensors: dict[str, Tensor] = {}
    digests: dict[str, str] = {}
    for part, rename in (("feature_encoder", of_embedding), ("relation_network", of_relation)):
        path = folder / f"omniglot_{part}_{task}.pkl"
        if not path.is_file():
            raise RunFolderError(f"there is no {path}; give the folder omniglot/models of the authors' repository.")
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        found = torch.load(path, map_location="cpu", weights_only=True)
        counts = "num_batches_tracked"  # newer versions of torch save it, and nothing here uses it
        tensors |= {rename(name): tensor for name, tensor in found.items() if not name.endswith(counts)}
    return tensors, digests


def of_embedding(name: str) -> str:
    """Return our name of a tensor of the embedding: ``layer1.0.weight`` is ``model.blocks.0.conv.weight``."""
    number, layer, what = _parts(name)
    return f"model.blocks.{number - 1}.{('conv', 'norm')[layer]}.{what}"


def of_relation(name: str) -> str:
    """Return our name of a tensor of the relation module: ``fc1.weight`` is ``relation.linear1.weight``."""
    if name.startswith("fc"):
        return f"relation.linear{name.removeprefix('fc')}"
    number, layer, what = _parts(name)
    return f"relation.{('conv', 'norm')[layer]}{number}.{what}"


def _parts(name: str) -> tuple[int, int, str]:
    found = _BLOCK.fullmatch(name)
    if found is None:
        raise RunFolderError(f"a file of weights has {name!r}, which is not a tensor of the authors' networks.")
    return int(found[1]), int(found[2]), found[3]


def measure(folder: Path, task: str, mode: str) -> dict[str, Any]:
    """Test the released weights of a task on the episodes of its experiment.

    Args:
        folder: ``omniglot/models`` of the authors' repository.
        task: Such as ``5way_1shot``.
        mode: The batch norm: ``transductive``, as the authors test, or ``running``.
    """
    tensors, digests = tensors_of(folder, task)
    experiment = f"relation_net_omniglot_{task}"
    settings = Composer().settings([f"experiment={experiment}", f"algorithm.batch_norm={mode}", "device=cpu"])
    with use_device(settings.device) as compute:
        parts = build(settings, compute, lambda _: None)
        parts.algorithm.load_state_dict(tensors)
        source = parts.eval_source
        source.open_test()
        chunk = tasks_at_once(settings.task.shape, parts.dataset.input_shape, parts.algorithm, compute)
        evaluator = Evaluator(source, settings.eval.seed, compute, chunk)
        values = evaluator.evaluate(parts.algorithm, "test", settings.eval.episodes, lambda _: None).per_step[-1]
    bank = source.bank_hash("test", settings.eval.episodes)
    return {
        "experiment": experiment, "batch_norm": mode, "episodes": len(values), "episode_bank": bank,
        **interval("mean", values.tolist()), "published": settings.reference["value"],
        "published_ci95": settings.reference["ci95"], "files": digests,
    }  # fmt: skip


def format_results(results: Mapping[str, Any]) -> str:
    """Return the table: a row for each task, with both modes of batch norm."""
    rows = []
    for task in TASKS:
        one, other = (results[f"{task} {mode}"] for mode in MODES)
        published = f"{100 * one['published']:.1f} ± {100 * one['published_ci95']:.1f}"
        words = task.replace("way_", "-way ").replace("shot", "-shot")
        rows.append([words, published, percent(one, "mean"), percent(other, "mean")])
    heads = ["Task", "Published", "Here, transductive", "Here, with the statistics of the last training batch"]
    return format_table(heads, rows, right=(1, 2, 3))


def on_page(text: str, record: Mapping[str, Any]) -> str:
    """Return the text of the page with the table of a record."""
    return between_markers(text, "released_weights", format_results(record["results"]))


def main(arguments: list[str] | None = None) -> int:
    """Measure, or read the record, and write the page; exit code 0, or 1 where ``--check`` finds it stale."""
    parser = page_parser(__doc__, "docs/ablations.md")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="test the weights in it and write the record")
    options = parser.parse_args(arguments)
    if options.measure is not None:
        results: dict[str, Any] = {}
        for task in TASKS:
            for mode in MODES:
                results[f"{task} {mode}"] = row = measure(options.measure, task, mode)
                print_text(f"{task}, batch norm {mode}: {percent(row, 'mean')}")
        timing.save(RECORD, "released_weights", results)
    return write_page(options, lambda text: on_page(text, json.loads(RECORD.read_bytes())))


if __name__ == "__main__":
    sys.exit(main())
