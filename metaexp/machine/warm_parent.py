"""The warm parent: a process that imports slow modules once, and forks itself for each job. Linux only.

It runs no job and has one thread. A fork copies only the thread that calls it, so a lock of another thread would never
be released in the child. The other end of its socket is :class:`metaexp.machine.forked_process.WarmParent`.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from metaexp.core.counted import counted
from metaexp.machine.signals import HANDLED

_MOST_BYTES = 1 << 20
"""The most bytes of a message, and of the output of the parent's imports that jobs get in their logs."""


def serve_forks(
    channel: socket.socket, load: Callable[[], None], prepare: Callable[[Sequence[str]], None]
) -> list[str]:
    """Fork this process at each request from a socket, until the other end closes.

    Args:
        channel: The socket (SOCK_SEQPACKET). Each request carries the file descriptors of the new process's standard
            input and log.
        load: Imports the slow modules. It must start no threads.
        prepare: Called in this process before each fork, with the arguments. Errors are ignored, because the job
            meets the same error and writes it to its log.

    Returns:
        The arguments of the job, in each forked process. The parent itself never returns.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # Ctrl-C is for the jobs
    load()
    printed = _printed()
    _end_library_threads()
    parent = _Parent(channel)
    parent.send({"ready": True})
    while True:
        number, arguments, stdin, log = parent.next_request()
        _try(prepare, arguments)
        _refuse_threads()
        if parent.fork(number):
            channel.close()
            parent.close_handles()
            _take_over(stdin, log, printed)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return arguments
        os.close(stdin)
        os.close(log)


class _Parent:
    """The parent's end of the socket, and its running children."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.children: dict[int, tuple[int, int]] = {}
        """Handle of a process (pidfd) -> the number of its request, and its process number."""

    def send(self, message: dict[str, Any], *handles: int) -> None:
        """Send a message and file descriptors. If the other end is closed, this process ends."""
        try:
            socket.send_fds(self.channel, [json.dumps(message).encode()], list(handles))
        except OSError:
            leave(0)

    def next_request(self) -> tuple[int, list[str], int, int]:
        """Wait for a request. Report meanwhile which children ended."""
        poller = select.poll()
        for handle in (self.channel.fileno(), *self.children):
            poller.register(handle, select.POLLIN)
        while True:
            for handle, _ in poller.poll():
                if handle in self.children:
                    poller.unregister(handle)
                    self._tell_end(handle)
                    continue
                data, handles, _, _ = socket.recv_fds(self.channel, _MOST_BYTES, 2)
                if not data:
                    leave(0)
                request = json.loads(data)
                return request["number"], request["arguments"], *handles

    def fork(self, number: int) -> bool:
        """Fork, and return whether this is the child."""
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            self.send({"number": number, "failed": str(error)})
            return False
        if pid == 0:
            return True
        handle = os.pidfd_open(pid)
        self.children[handle] = (number, pid)
        self.send({"number": number, "pid": pid}, handle)
        return False

    def close_handles(self) -> None:
        """Close the file descriptors of siblings, in a child."""
        for handle in self.children:
            os.close(handle)

    def _tell_end(self, handle: int) -> None:
        """Report the exit code of a child, negative for a signal.

        Only then is the child waited for, so that the pool can ask the system if this process dies before.
        """
        number, pid = self.children.pop(handle)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self.send({"number": number, "code": code})
        os.waitpid(pid, 0)
        os.close(handle)


def leave(code: int) -> NoReturn:
    """End this process as ``sys.exit`` does, but without finalising the interpreter.

    Threads are joined, functions of :mod:`atexit` are called, and output is flushed. Finalising torch would take half a
    second more.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _end_library_threads() -> None:
    """Fork once, because some libraries end their threads at a fork. End this process if any are left."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    _refuse_threads()


def _refuse_threads() -> None:
    """End this process if it has several threads, since a forked child could hang."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        sys.exit(f"the warm parent has {counted(threads, 'thread')}, and cannot be forked safely")


def _printed() -> bytes:
    """What the imports have printed. It goes to the log of each job, as if the job had imported the modules."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        return os.pread(1, _MOST_BYTES, 0)
    except OSError:  # not a file
        return b""


def _try(prepare: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    with warnings.catch_warnings(record=True):
        try:
            prepare(arguments)
        except Exception:
            traceback.print_exc()


def _take_over(stdin: int, log: int, printed: bytes) -> None:
    """Give the child its own input and output, and leave to the parent what the parent registered for its own end."""
    for handle, number in ((stdin, 0), (log, 1), (log, 2)):
        os.dup2(handle, number)
    os.close(stdin)
    os.close(log)
    os.write(2, printed)
    atexit.unregister(shutil.rmtree)  # of a temporary folder that the parent made, as matplotlib does
    finalizers: Iterable[weakref.finalize[..., Any]] = getattr(weakref.finalize, "_registry", ())
    for finalizer in finalizers:  # torch has 170, which take a twentieth of a short job
        finalizer.atexit = False
    importlib.invalidate_caches()
