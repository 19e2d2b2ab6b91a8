"""Controls a warm parent and the processes that it forks, from the process that started it. Linux only."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metaexp.core.disk.files import append_regular

_MOST_BYTES = 1 << 20
_SECONDS_BETWEEN_LOOKS = 0.01
_SECONDS_OF_AN_END = 10.0
_UNKNOWN = 1
_PR_SET_CHILD_SUBREAPER = 36


def can_fork() -> bool:
    """Whether this system can fork a warm parent safely: Linux with pidfd_open (since 2019)."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class ForkedProcess:
    """A process that a warm parent forked, or is about to. The methods are those of :class:`subprocess.Popen`.

    Attributes:
        returncode: The exit code, negative for a signal; None while it runs.
        pid: The number of the process; None until the parent has sent it.
        is_lost: Whether the parent ended before it forked, so that there is no process.
    """

    def __init__(self, parent: WarmParent, stdin: int) -> None:
        self.parent = parent
        self.returncode: int | None = None
        self.pid: int | None = None
        self.is_lost = False
        self._stdin = stdin  # its standard input, which closes when this process dies
        self._handle = -1
        self._signal: int | None = None

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None:
            self.parent.read()
        if self.returncode is None and not self.parent.is_alive:
            if self.pid is None:
                self.is_lost = True
            else:
                self._ask_system(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code, or 1 if it was lost. Raises subprocess.TimeoutExpired."""
        return wait_for(lambda: self.give_up(_UNKNOWN) if self.is_lost else self.poll(), timeout)

    def send_signal(self, number: int) -> None:
        """Send a signal, once there is a process."""
        if self.poll() is not None:
            return
        if self._handle < 0:
            self._signal = number
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """Kill it at once. If there is no process yet, the parent is killed, so that it never forks it."""
        if self.poll() is None and self._handle < 0:
            self.parent.kill()
            self.give_up(-signal.SIGKILL)
        else:
            self.send_signal(signal.SIGKILL)

    def give_up(self, code: int) -> int:
        """Set the exit code, close the file descriptors, and return the code."""
        self.returncode = code
        for handle in (self._stdin, self._handle):
            if handle >= 0:
                os.close(handle)
        self._stdin = self._handle = -1
        return code

    def began(self, pid: int, handle: int) -> None:
        """Note that the parent has forked the process ``pid``, and send the signal that was asked for before.

        Args:
            pid: The process.
            handle: Its file descriptor for signals (pidfd).
        """
        self.pid, self._handle = pid, handle
        if self._signal is not None:
            self.send_signal(self._signal)

    def _ask_system(self, pid: int) -> None:
        """Ask the system for the exit code. After the parent's death, its children are children of this process."""
        try:
            done, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            self.give_up(_UNKNOWN)
            return
        if done:
            self.give_up(os.waitstatus_to_exitcode(status))


def wait_for(poll: Callable[[], int | None], timeout: float | None) -> int:
    """Wait until ``poll`` returns an exit code, and return it. Raises subprocess.TimeoutExpired.

    Args:
        poll: Returns the exit code, or None while the process runs.
        timeout: Seconds; None waits forever.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while (code := poll()) is None:
        if end is not None and timeout is not None and time.monotonic() > end:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return code


class WarmParent:
    """A process that forks itself when it is asked to, running :func:`metaexp.machine.warm_parent.serve_forks`.

    Args:
        command: The command. The number of its socket is added as the last argument.
        env: Its environment, and that of the forked processes.

    Attributes:
        is_alive: Whether it can still fork.
        is_ready: Whether it has finished its imports.
        is_noted: Whether the owner has printed that it died. The owner sets it.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.is_alive, self.is_ready, self.is_noted = True, False, False
        self._waiting: dict[int, ForkedProcess] = {}
        self._number = 0
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the parent lives
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        adopt_orphans(True)
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        self._channel.setblocking(False)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def fork(self, arguments: Sequence[str], log: Path) -> ForkedProcess:
        """Ask for a process.

        Args:
            arguments: Arguments of the process.
            log: The file that its output is appended to.

        Returns:
            The process. It is lost if the parent has ended.
        """
        self._number += 1
        end, stdin = os.pipe()
        process = ForkedProcess(self, stdin)
        self._waiting[self._number] = process
        request = json.dumps({"number": self._number, "arguments": list(arguments)}).encode()
        try:
            with append_regular(log) as file:
                self._send(request, end, file.fileno())
        finally:
            os.close(end)
        return process

    def _send(self, request: bytes, *handles: int) -> None:
        try:
            socket.send_fds(self._channel, [request], list(handles))
        except OSError:
            self.read()
            self._end()

    def read(self) -> None:
        """Read the messages that the parent has sent since."""
        while self.is_alive:
            try:
                data, handles, _, _ = socket.recv_fds(self._channel, _MOST_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, handles = b"", []
            if data:
                self._take(json.loads(data), handles)
            else:
                self._end()

    def why_dead(self) -> str:
        """Wait for its end, and say how it ended and what it printed last."""
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = os.pread(self._printed.fileno(), _MOST_BYTES, 0).decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how

    def kill(self) -> None:
        """Kill it at once. The processes that it has forked go on."""
        if self.is_alive:
            self.is_alive = False
            self._channel.close()
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close the socket and wait for its end. The processes that it has forked go on."""
        if self.is_alive:
            self.is_alive = False
            self._channel.close()
            self._process.wait()
        self._printed.close()
        adopt_orphans(False)

    def _end(self) -> None:
        """Wait for a parent that has closed its socket; kill it if it does not end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_OF_AN_END)
        self.kill()

    def _take(self, message: dict[str, Any], handles: list[int]) -> None:
        if message.get("ready"):
            self.is_ready = True
            return
        process = self._waiting[message["number"]]
        if "pid" in message:
            process.began(message["pid"], handles[0])
        elif "failed" in message:
            process.is_lost = True
        else:
            process.give_up(message["code"])


def adopt_orphans(wanted: bool) -> None:
    """Choose whether this process adopts the children of a dead warm parent, so that it gets their exit codes."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
