"""Print the share of branches that the tests took, folder by folder. `python scripts/coverage_gate.py REPORT.json`.

The report is coverage's, in JSON. Exits with 1 if a folder has less than it must have.
"""

import json
import sys
from pathlib import Path
from typing import Any

LEAST = 90.0
"""Percent of branches."""
ROOMS = (
    "metaexp/core/",
    "metaexp/algorithms/",
    "metaexp/config/",
    "metaexp/run/checkpoint.py",
    "metaexp/results/checkpoint_values.py",
)


def taken(report: dict[str, Any], room: str) -> float:
    """Percent of the branches of a room, or of one file, that were taken; 0 for a room that is not in the report."""
    files = [content["summary"] for name, content in report["files"].items() if name.startswith(room)]
    branches = sum(summary["num_branches"] for summary in files)
    return 100 * sum(summary["covered_branches"] for summary in files) / branches if branches else 0.0


def missed(report: dict[str, Any], room: str) -> list[str]:
    """A line for each file of a room with branches that were not taken: where they start and end."""
    found = {
        name: content.get("missing_branches") for name, content in report["files"].items() if name.startswith(room)
    }
    return [f"    {name}: {' '.join(f'{a}->{b}' for a, b in pairs)}" for name, pairs in found.items() if pairs]


def main(report: dict[str, Any]) -> int:
    """Print all rooms; exit code 1 where one has too little."""
    low = [room for room in ROOMS if taken(report, room) < LEAST]
    for room in ROOMS:
        print(
            f"{room}: {taken(report, room):.1f} % of branches" + (f", less than {LEAST:.0f} %" if room in low else "")
        )
        if room in low:
            print("\n".join(missed(report, room)))
    return min(len(low), 1)


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_bytes())))
