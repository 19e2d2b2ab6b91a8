#!/bin/sh
# coverage.sh PYTHON: the tests of the rooms that decide numbers, and the share of their branches that was taken.
# Fails below 90 % in any of them. Half as long again as the same tests alone, so that `make unit` goes without.
set -eu
python=$1
"$python" -m pytest -q -n auto --dist worksteal -m "not slow" --cov=metaexp --cov-report= \
    tests/core tests/algorithms tests/contracts tests/config tests/run/test_checkpoint_files.py
"$python" -m coverage json -q -o .coverage.json
"$python" scripts/coverage_gate.py .coverage.json
