"""The page on GPUs shows what the record of its benchmark says."""

from __future__ import annotations

import json
from pathlib import Path

from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "records" / "gpu_h200.json"


def test_the_page_is_that_of_the_record() -> None:
    gpu = load_program("benchmarks/gpu.py")
    text, found = (ROOT / "docs" / "gpu.md").read_text(), json.loads(RECORD.read_text())
    assert gpu.on_page(text, found) == text, (
        "run python benchmarks/gpu.py --record benchmarks/records/gpu_h200.json --page docs/gpu.md"
    )
    found["results"]["maml_sinusoid"]["ratio"] *= 2
    assert gpu.on_page(text, found) != text
