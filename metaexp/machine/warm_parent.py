"""The warm parent: a process that has imported what is slow to import, and forks itself for each job. Linux only.

It runs no job, computes nothing and has one thread: after a fork only the forking thread goes on, and whatever the
others held would be held forever. The other end of its socket is :class:`metaexp.machine.forked_process.WarmParent`.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from metaexp.machine.signals import HANDLED

_MOST_BYTES = 1 << 20
"""Of a message, and of what the imports of the parent may have printed."""


def serve_forks(
    channel: socket.socket, load: Callable[[], None], prepare: Callable[[Sequence[str]], None]
) -> list[str]:
    """Fork this process whenever the other end of a socket asks for it, until that end closes.

    Args:
        channel: The socket (SOCK_SEQPACKET). A request has the standard input and the log of the new process with it.
        load: Imports what is slow to import. It must start no threads.
        prepare: Called in this process before each fork, with the arguments. What it raises is ignored: the job will
            find the same fault, and say so in its log.

    Returns:
        The arguments of the job, in each forked process. This process ends when the other end of the socket closes.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # Ctrl-C is for the jobs
    load()
    printed = _printed()
    _settle()
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
        """Tell the other end something; where it is gone, this process ends."""
        try:
            socket.send_fds(self.channel, [json.dumps(message).encode()], list(handles))
        except OSError:
            leave(0)

    def next_request(self) -> tuple[int, list[str], int, int]:
        """Wait for a request, and tell meanwhile which children ended."""
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
        """Fork; whether this is the child."""
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
        """Close, in a child, what belongs to its siblings."""
        for handle in self.children:
            os.close(handle)

    def _tell_end(self, handle: int) -> None:
        """Tell how a child ended, and only then let the system forget it: if we die before, the pool asks the system.

        Its exit code is negative for a signal.
        """
        number, pid = self.children.pop(handle)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self.send({"number": number, "code": code})
        os.waitpid(pid, 0)
        os.close(handle)


def leave(code: int) -> NoReturn:
    """End this process as ``sys.exit`` does, but leave the interpreter as it is.

    Threads are joined, what was registered with :mod:`atexit` is called, and everything is written. To take torch apart
    would need half a second more.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _settle() -> None:
    """Fork once, which ends the threads of libraries that can do without them; refuse to serve if others are left."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    _refuse_threads()


def _refuse_threads() -> None:
    """End this process if it has several threads: a fork would take only one along, and hang where it needs another."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        sys.exit(f"the warm parent has {threads} threads, and cannot be forked safely")


def _printed() -> bytes:
    """What the imports have printed so far: a job that imports for itself has it in its log."""
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
    """In the child: its own input and output, and nothing that is the parent's to tidy up."""
    for handle, number in ((stdin, 0), (log, 1), (log, 2)):
        os.dup2(handle, number)
    os.close(stdin)
    os.close(log)
    os.write(2, printed)
    atexit.unregister(shutil.rmtree)  # of a temporary folder that the parent made, as matplotlib does
    importlib.invalidate_caches()
