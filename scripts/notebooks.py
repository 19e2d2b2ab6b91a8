"""Runs the notebooks of examples again, as ``make notebooks`` does, and writes into them what they show.

Each runs in Jupyter's own kernel, from the top, in an empty folder. Names and orders of cells stay. A notebook whose
outputs differ from those that it has only in dates, times and memory stays as it is, byte for byte. nbclient and
ipykernel must be installed; ``make notebooks`` does that.

    python scripts/notebooks.py [NOTEBOOK ...]
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
_COLUMNS = "100"
_SECONDS_OF_A_CELL = 1800
_CHANGING = (
    (r"\x1b\[[0-9;]*[A-Za-z]", ""),  # colours
    (r"\d{8}-\d{6}-\d{6}", "DATE"),  # of a run folder
    (r"(?m)^(sweep|train|test|search) \d+/\d+ .*\n", ""),  # progress, which comes every few seconds
    (r"\d[\d,.]*( ?)(s|min|h)\b", "TIME"),
    (r"TIME +[\d,.]+ +\d+ MiB", "TIME SPEED MEMORY"),
    (r"[ ─]+", " "),  # widths of columns follow the numbers
)


def run_notebook(path: Path) -> bool:
    """Run a notebook, and write its outputs into it if they say something else than before.

    Args:
        path: The notebook.

    Returns:
        Whether it was written.
    """
    before = json.loads(path.read_text(encoding="utf-8"))
    after = with_outputs(before, executed(path))
    if what_is_said(before) == what_is_said(after):
        return False
    path.write_text(json.dumps(after, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return True


def executed(path: Path) -> dict[str, Any]:
    """Return a notebook with the outputs of a run in an empty folder.

    Args:
        path: The notebook.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        bin_folder = str(Path(sys.executable).parent)
        os.environ.update(
            COLUMNS=_COLUMNS, METAEXP_DATA="data", MPLBACKEND="agg", NO_COLOR="1", XDG_CACHE_HOME="cache", TERM="dumb",
            PATH=os.pathsep.join([bin_folder, os.environ["PATH"]]),
        )  # fmt: skip
        NotebookClient(
            notebook, timeout=_SECONDS_OF_A_CELL, resources={"metadata": {"path": folder}}, record_timing=False,
            coalesce_streams=True,
        ).execute()  # fmt: skip
    found: dict[str, Any] = json.loads(nbformat.writes(notebook))
    return found


def without_terminal(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs in which printed lines end as those of files do: commands of a cell run in a terminal.

    Args:
        outputs: The outputs of a cell.
    """
    return [
        {**item, "text": [re.sub(r"[ \r]+(?=\n|$)", "", line) for line in item["text"]]} if "text" in item else item
        for item in outputs
    ]


def with_outputs(notebook: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook with the outputs of its run. All else stays, such as its metadata.

    Args:
        notebook: The notebook.
        run: The same notebook after its run.
    """
    cells = []
    for cell, ran in zip(notebook["cells"], run["cells"], strict=True):
        if cell["cell_type"] == "code":
            shown = {"execution_count": ran["execution_count"], "outputs": without_terminal(ran["outputs"])}
            cells.append({**cell, **shown})
        else:
            cells.append(cell)
    return {**notebook, "cells": cells}


def what_is_said(notebook: dict[str, Any]) -> list[Any]:
    """Return the outputs of a notebook without what differs each time: dates, times, memory and progress.

    Args:
        notebook: The notebook.
    """
    return [_constant(cell.get("outputs")) for cell in notebook["cells"]]


def _constant(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _constant(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return _constant("".join(value))
    if isinstance(value, list):
        return [_constant(item) for item in value]
    if isinstance(value, str):
        for pattern, text in _CHANGING:
            value = re.sub(pattern, text, value)
        return value.strip()
    return value


def main(arguments: list[str]) -> None:
    """Run the notebooks that are named, or all.

    Args:
        arguments: Their paths.
    """
    for path in [Path(name) for name in arguments] or sorted(FOLDER.glob("*.ipynb")):
        print(f"{path.name}: ", end="", flush=True)
        print("new outputs" if run_notebook(path) else "nothing new", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
