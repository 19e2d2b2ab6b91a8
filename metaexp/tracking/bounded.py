"""Waits for a limited time for something that may never end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)


def ends_within(seconds: float, action: Callable[[], object]) -> bool:
    """Wait for ``action`` for a bounded time. If that is not enough, it goes on in its own thread.

    Args:
        seconds: how long to wait.
        action: what to call.

    Returns:
        Whether it ended in time. A TimeoutError of ``action`` counts as too slow, a SystemExit as its end.

    Raises:
        Exception: any other error of ``action``.
    """
    errors: list[Exception] = []

    def act() -> None:
        try:
            action()
        except SystemExit:
            return
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors and not isinstance(errors[0], TimeoutError):
        raise errors[0]
    return not thread.is_alive() and not errors


def server_answers(url: str, seconds: float = 2.0) -> bool:
    """Whether the server at ``url`` answers a request with anything at all within ``seconds``.

    Args:
        url: The address of the server.
        seconds: How long to wait. A server that is alive answers within the default.
    """
    import urllib.error  # takes 20 ms with urllib.request, and trackers are made when a command is checked, too
    import urllib.request

    def ask() -> None:
        with suppress(urllib.error.HTTPError):  # that is an answer, too
            urllib.request.urlopen(url, timeout=seconds).close()

    with suppress(OSError, ValueError):
        return ends_within(seconds, ask)
    return False


def done_by_server(url: str, seconds: float, action: Callable[[], object]) -> bool:
    """Do what waits for the answers of a server, if the server is alive.

    Args:
        url: The address of the server.
        seconds: How long to wait for ``action``.
        action: What to call.

    Returns:
        Whether ``action`` ended well and in time.
    """
    try:
        return server_answers(url) and ends_within(seconds, action)
    except Exception as error:
        log.debug("%s: %s", url, error)
        return False
