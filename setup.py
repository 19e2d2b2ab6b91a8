"""Finds the packages, so that no new one is forgotten. Everything else is in ``setup.cfg``."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["metaexp", "metaexp.*"]), "metaexp.conf"])  # conf/ has no __init__.py
