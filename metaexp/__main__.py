"""``python -m metaexp`` is ``metaexp``."""

import sys

from metaexp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
