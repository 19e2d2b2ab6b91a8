"""A warm parent reads once which versions and which commit its jobs record."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import json
from metaexp.results import provenance
from metaexp.sweep.processes import preload

kept_functions = provenance._installed, provenance.sources_digest, provenance.loaded_state

def is_kept():
    return [function.cache_info().currsize for function in kept_functions]

def found():
    return provenance.versions(), provenance.sources_digest(), provenance.loaded_state()

preload._LIBRARIES, preload._modules = (), lambda: ()
before = is_kept()
preload.import_everything()
after = is_kept()
kept = found()
for function in kept_functions:
    function.cache_clear()
print(json.dumps([before, after, kept == found()]))
"""


def test_versions_are_read_before_jobs_are_forked_and_are_the_same() -> None:
    made = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert made.stdout.strip() == "[[0, 0, 0], [1, 1, 1], true]"
