"""Folders of runs, sweeps and searches: found, listed, shown, watched, removed, and (``run.py``) used from Python."""
