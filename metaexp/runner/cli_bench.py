"""``metaexp bench NAME``: speed against other implementations, and the coverage of intervals."""

from __future__ import annotations

from collections.abc import Sequence

from metaexp.runner.bench import names, run


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp bench`` and return its exit code. Without a name it lists the benchmarks."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: metaexp bench NAME [options]     (metaexp bench NAME --help tells more)\n")
        print("Run a measurement from the repository's folder benchmarks.\n")
        print("\n".join(f"  {name}" for name in names()))
        return 0 if arguments else 2
    return run(arguments[0], list(arguments[1:]))
