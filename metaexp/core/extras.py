"""Packages that only some commands need, and how to install them."""

from __future__ import annotations

EXTRAS = {
    "search": ("optuna>=5,<6",),
    "tensorboard": ("tensorboard>=2.16",),
    "mlflow": ("mlflow>=3,<4",),
    "parallel": ("hydra-joblib-launcher>=1.2,<1.3",),
    "submitit": ("hydra-submitit-launcher>=1.2,<1.3", "submitit>=1.5"),
    "icons": ("resvg-py>=0.5,<0.6",),
    "timm": ("timm>=1.0,<2",),
    "ray": ("hydra-ray-launcher>=1.2.2,<1.3", "ray>=2.60,<3"),
}
"""The extras of setup.cfg, by name, that messages tell people to install."""


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra.

    The packages are named one by one. ``pip install metaexp[search]`` would look for metaexp itself on PyPI, where it
    is not published.

    Args:
        extra: A key of :data:`EXTRAS`.
    """
    return "pip install " + " ".join(f"'{requirement}'" for requirement in EXTRAS[extra])
