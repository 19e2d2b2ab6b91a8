"""What all tests share: one thread each, a cache of their own, no account."""

import os
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

# Several test processes run at once; with a thread per core each, they would wait for one another. Set before torch
# is imported, and handed on to the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("XDG_CACHE_HOME", str(Path(tempfile.gettempdir()) / f"metaexp-tests-{os.getuid()}"))
for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "METAEXP_OUTPUTS"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def learn2learn() -> ModuleType:
    """learn2learn; tests are skipped, with how to install it, where it is missing."""
    from metaexp.core.errors import ConfigError
    from metaexp.core.learn2learn import import_learn2learn

    try:
        return import_learn2learn()
    except ConfigError as error:
        pytest.skip(str(error))
