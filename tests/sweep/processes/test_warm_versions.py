"""A warm parent reads once which versions its jobs record."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import json
from metaexp.results import provenance
from metaexp.sweep.processes import preload

def is_kept():
    return [function.cache_info().currsize for function in (provenance._installed, provenance.sources_digest)]

preload._LIBRARIES, preload._modules = (), lambda: ()
before = is_kept()
preload.import_everything()
after = is_kept()
kept = provenance.versions(), provenance.sources_digest()
provenance._installed.cache_clear()
provenance.sources_digest.cache_clear()
print(json.dumps([before, after, kept == (provenance.versions(), provenance.sources_digest())]))
"""


def test_versions_are_read_before_jobs_are_forked_and_are_the_same() -> None:
    made = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert made.stdout.strip() == "[[0, 0], [1, 1], true]"
