"""What environment variables say in place of keys of the configuration."""

from __future__ import annotations

import logging
import os
import re

log = logging.getLogger(__name__)


def environment_or_key(variable: str, key: str, value: str) -> str:
    """Return what an environment variable says, or the value of a key where it is not set.

    A warning says which of the two is taken if they differ.

    Args:
        variable: The environment variable.
        key: The key of the configuration, for the warning.
        value: The value of the key.
    """
    found = os.environ.get(variable)
    if not found or found == value:
        return value
    log.warning(
        "%s=%s is in the environment, and is taken in place of %s=%s. Unset it to use the key.",
        variable, without_password(found), key, without_password(value),
    )  # fmt: skip
    return found


def without_password(address: str) -> str:
    """Return an address without the password that may be in it.

    Args:
        address: An address, such as ``http://me:secret@host``.
    """
    return re.sub(r"//[^/@]*@", "//***@", address)
