"""``python -m metaexp`` is ``metaexp``. Both begin here, so that Ctrl-C while the rest is imported ends quietly."""

import sys


def main() -> int:
    """Import the command line and run it.

    Returns:
        The exit code of the process.
    """
    try:
        from metaexp.cli.main import main as run
    except KeyboardInterrupt:  # nothing has begun; ExitCode is perhaps not imported yet
        sys.stderr.write("metaexp: interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
