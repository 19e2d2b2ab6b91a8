"""Write what the reliability harnesses tried and what failed into docs/reliability.md, from their records.

No number on that page is typed. Each record is what a harness wrote with ``--output``::

    python tests/support/kills/kill_and_resume.py FOLDER 144 benchmarks/records/kill_and_resume.json
    python tests/support/kills/crash_points.py FOLDER --output benchmarks/records/crash_points.json
    python tests/support/kills/kill_sweep.py FOLDER 20 30 --output benchmarks/records/sweep_kills.json
    python tests/support/kills/kill_sweep.py FOLDER 20 20 --warm --output benchmarks/records/sweep_kills_warm.json
    OMP_NUM_THREADS=1 python tests/support/kills/rank_rounds.py FOLDER --output benchmarks/records/rank_rounds.json
    python tests/support/hostile/hostile_folders.py --seed 0 --output benchmarks/records/hostile_folders.json
    python tests/support/hostile/hostile_folders.py --seed 1 --output benchmarks/records/hostile_folders.json
    python tests/support/hostile/hostile_folders.py --seed 2 --output benchmarks/records/hostile_folders.json
    python tests/support/hostile/bad_command_lines.py --lines 1600 --output benchmarks/records/bad_command_lines.json
    python benchmarks/reliability.py --page docs/reliability.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pages import page_parser, write_page

from metaexp.core.errors import ConfigError
from metaexp.results.display.markdown import between_markers, format_table

RECORDS = Path(__file__).resolve().parent / "records"
Found = Mapping[str, Any]


def kills(found: Found) -> str:
    """A run that is killed and resumed, again and again."""
    outside = found["kills"] - found["inside"]
    rows = [
        ["kills at a random moment", str(outside), ""],
        ["kills just before or after a random write, sync, rename or removal", str(found["inside"]), ""],
        ["runs that were killed until they ended", str(len(found["folders"])), _failed(found["different"])],
    ]
    return format_table(["what", "tried", "with other bytes"], rows, right=(1, 2))


def sweep(found: Found) -> str:
    """A sweep that is killed and started again."""
    jobs = found["jobs"]
    rows = [
        ["kills of the sweep and its workers", str(found["kills"]), ""],
        ["jobs that began again after they were complete", str(jobs), _failed(found["again"])],
        ["jobs that are missing at the end", str(jobs), _failed(found["missing"])],
        ["jobs with other bytes than in an undisturbed sweep", str(jobs), _failed(found["different"])],
    ]
    return format_table(["what", "tried", "failed"], rows, right=(1, 2))


def ranks(found: Found) -> str:
    """Runs on several ranks, each disturbed once."""
    wrong = [item["job"]["what"] for item in found["wrong"]]
    rows = [[what, str(number), _failed([w for w in wrong if w == what])] for what, number in found["tried"].items()]
    rows.append(["all: rounds that hung", str(found["rounds"]), _failed(found["hung"])])
    for fault, text in _FAULTS_OF_RANKS.items():
        failed = [item for item in found["wrong"] if fault in item["faults"]]
        rows.append([f"all: {text}", str(found["rounds"]), _failed(failed)])
    signals = sum(number for what, number in found["tried"].items() if what.startswith("SIG"))
    sizes = [f"{number} with {n} rank{'' if n == '1' else 's'}" for n, number in found["ranks"].items()]
    machine = found["machine"]
    about = (
        f"{found['rounds']} rounds (seed {found['seed']}): {', '.join(sizes[:-1])} and {sizes[-1]}. The ranks were "
        f"{found['started']}. {found['too_late']} of the {signals} signals at any moment came after the run had ended. "
        f"Run at commit `{found['commit'][:7]}` with torch {found['torch']} and Python {found['python']} on "
        f"{machine['cores']} cores ({machine['processor']}).\n"
    )
    return "\n".join([about, format_table(["disturbance", "rounds", "failed"], rows, right=(1, 2))])


def hostile(found: Found) -> str:
    """Damaged and hostile run folders, one round for each seed."""
    rounds = found["rounds"]
    kinds = _sums(item["tried"] for item in rounds)
    failed = _sums(item["failed"] for item in rounds)
    calls = sum(item["calls"] for item in rounds)
    verbs = list(dict.fromkeys(verb for item in rounds for verb in item["verbs"]))
    at_most = "" if {len(item["verbs"]) for item in rounds} == {len(verbs)} else "up to "
    seeds = ", ".join(str(item["seed"]) for item in rounds)
    sizes = " and ".join(sorted({str(item["cases"]) for item in rounds}))
    slowest = max(item["slowest_seconds"] for item in rounds)
    tried = (
        f"{len(rounds)} rounds (seeds {seeds}) of {sizes} folders. Each folder was given to "
        f"{at_most}{len(verbs)} readers: "
        f"{', '.join(f'`{verb}`' for verb in verbs)}. These are {calls:,} calls. The slowest one took {slowest} s of "
        "processor time.\n"
    )
    rows = [[_FAULTS[kind], f"{calls:,}", str(number)] for kind, number in failed.items()]
    return "\n".join(
        [
            tried,
            format_table(
                ["damage", "folders"], [[kind, str(number)] for kind, number in sorted(kinds.items())], right=(1,)
            ),
            format_table(["fault", "calls", "failed"], rows, right=(1, 2)),
        ]
    )


def crash_points(found: Found) -> str:
    """A run that is killed at one call, for every call."""
    rows = [
        ["the resumed run fails", str(found["points"]), _failed(found["failed"])],
        ["the resumed run ends with other bytes", str(found["points"]), _failed(found["different"])],
    ]
    return format_table(["fault", "calls at which a run was killed", "failed"], rows, right=(1, 2))


def bad_lines(found: Found) -> str:
    """Command lines with a mistake."""
    failed = [item["line"][0] for item in found["failed"]]
    rows = [[f"`{verb}`", str(number), str(failed.count(verb))] for verb, number in sorted(found["tried"].items())]
    return format_table(
        ["verb", "bad command lines", "failed"], [*rows, ["all", str(found["lines"]), str(len(failed))]], right=(1, 2)
    )


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        total = {key: total.get(key, 0) + count.get(key, 0) for key in {**total, **count}}
    return total


_FAULTS = {
    "outside": "a read or write outside the folder, or a secret let out",
    "traceback": "a traceback",
    "hang": "more than 10 s",
    "number": "another number, without a word",
    "escape": "control characters or markup in what was printed or written",
}
_FAULTS_OF_RANKS = {
    "exit codes": "rounds with an exit code that the disturbance does not allow",
    "not resumed": "rounds that could not be resumed",
    "other bytes": "rounds that did not go on bit for bit",
}
_TABLES: Mapping[str, tuple[str, Callable[[Found], str]]] = {
    "kills": ("kill_and_resume.json", kills),
    "crash-points": ("crash_points.json", crash_points),
    "sweep": ("sweep_kills.json", sweep),
    "warm-sweep": ("sweep_kills_warm.json", sweep),
    "ranks": ("rank_rounds.json", ranks),
    "hostile": ("hostile_folders.json", hostile),
    "bad-lines": ("bad_command_lines.json", bad_lines),
}


def _failed(items: list[Any]) -> str:
    return str(len(items))


def on_page(text: str, records: Path = RECORDS) -> str:
    """Return the text of the page with today's tables.

    Args:
        text: The page, with its markers.
        records: The folder of the records.

    Raises:
        ConfigError: A record is missing or is not one.
    """
    for name, (file, make) in _TABLES.items():
        try:
            found = json.loads((records / file).read_bytes())
            text = between_markers(text, name, make(found))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{records / file} is not a record of its harness ({type(error).__name__}: {error}). "
                "Make it again; the head of benchmarks/reliability.py has the commands."
            ) from error
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say whether it is up to date; exit code 0, or 1 where it is not."""
    return write_page(page_parser(__doc__, "docs/reliability.md").parse_args(arguments), on_page)


if __name__ == "__main__":
    sys.exit(main())
