"""Runs the cells of a notebook in this process, without Jupyter: Python, ``%%writefile FILE``, and ``!metaexp ...``.

``run_cells(path)`` runs them in the current folder. A lambda for ``change`` can shorten them.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metaexp.cli.main import main


def code_cells(path: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook, with their source as one text."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


def run_cells(path: Path, change: Callable[[str], str] = lambda source: source) -> list[Any]:
    """Run every cell. Returns the value of each, as Jupyter would show it: None, or that of a last expression."""
    names: dict[str, Any] = {"__name__": "__main__"}
    return [run_cell(change(cell["source"]), names) for cell in code_cells(path)]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run one cell with the names of those before it."""
    if source.startswith("%%writefile "):
        first, _, content = source.partition("\n")
        Path(first.split()[1]).write_text(content + "\n", encoding="utf-8")  # in a folder that is there, as in Jupyter
        return None
    if source.startswith("!"):
        words = shlex.split(re.sub(r"\{(.*?)\}", lambda found: str(eval(found[1], names)), source[1:]))
        assert words[0] == "metaexp", source
        code = main(words[1:])
        assert code == 0, f"{source} ended with {code}"
        return None
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if isinstance(last, ast.Expr) else None
