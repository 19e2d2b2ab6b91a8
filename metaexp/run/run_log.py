"""The log of a run: warnings are shown, and ``run.log`` has them and more, also from before the run had a folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path

from metaexp.core.disk.files import append_regular
from metaexp.machine.silence import show_each_warning_once
from metaexp.run.folder import RunFolder
from metaexp.run.progress import Display

_logging_run: ContextVar[Path | None] = ContextVar("logging_run", default=None)
"""The folder of the run that messages are about, where several runs are in this process; None where there is one."""


@contextmanager
def log_to_one_run(folder: Path) -> Iterator[None]:
    """Within this block, send messages to the log of one run, and not to those of other runs in this process.

    Args:
        folder: The run folder.
    """
    token = _logging_run.set(folder)
    try:
        yield
    finally:
        _logging_run.reset(token)


@contextmanager
def keep_early_messages(display: Display) -> Iterator[None]:
    """Within this block, show metaexp's warnings until a run has a log, which then gets what was logged before.

    What Python warns of, such as torch, is shown once for the run.

    Args:
        display: What the user sees.
    """
    handler = _Early(display)
    token = _early.set(handler)
    try:
        with show_each_warning_once(), _attach(handler):
            yield
    finally:
        _early.reset(token)


@contextmanager
def open_log(folder: RunFolder, display: Display) -> Iterator[None]:
    """Within this block, send metaexp's log to ``run.log``, and its warnings to the display too.

    Args:
        folder: The run folder, locked by this process.
        display: What the user sees.
    """
    file = _LogFile(folder.log, display)
    shown = _ToDisplay(display)
    for handler in (file, shown):
        handler.addFilter(lambda _: _logging_run.get() in (None, folder.path))
    try:
        with _attach(file, shown):
            if (early := _early.get()) is not None:
                early.write_to(file)
            yield
    finally:
        file.close()


@contextmanager
def _attach(*handlers: logging.Handler) -> Iterator[None]:
    """Let these alone handle what metaexp logs."""
    logger = logging.getLogger("metaexp")
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.level, logger.propagate = before
        for handler in handlers:
            logger.removeHandler(handler)


class _LogFile(logging.StreamHandler[TextIOWrapper]):
    """``run.log``. It is for the eye: a run whose log cannot be written says so once, and goes on."""

    def __init__(self, path: Path, display: Display) -> None:
        super().__init__(TextIOWrapper(append_regular(path), encoding="utf-8", errors="backslashreplace"))
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._path, self._display = path, display
        self.is_writable = True

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.is_writable = False
        logging.getLogger("metaexp").removeHandler(self)
        self._display.print_line(f"warning: {self._path} cannot be written ({error.strerror}); the log ends here.")

    def close(self) -> None:
        super().close()
        with suppress(OSError):  # what is left of the log cannot be written
            self.stream.close()


class _ToDisplay(logging.Handler):
    """Shows warnings without their traceback, which is in the log file."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is None:
            self._display.print_line(f"warning: {record.getMessage()}")


class _Early(_ToDisplay):
    """Shows warnings, and keeps all messages, until a log is opened."""

    def __init__(self, display: Display) -> None:
        super().__init__(display)
        self.setLevel(logging.INFO)
        self._records: list[logging.LogRecord] = []
        self._is_over = False

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_over:
            return
        self._records.append(record)
        if record.levelno >= logging.WARNING:
            super().emit(record)

    def write_to(self, file: _LogFile) -> None:
        """Write what was kept into a log, and keep no more."""
        self._is_over = True
        for record in self._records:
            if file.is_writable:
                file.handle(record)


_early: ContextVar[_Early | None] = ContextVar("early", default=None)
