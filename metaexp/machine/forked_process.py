"""The warm parent and the processes that it forks, as the process that asks for them sees them. Linux only."""

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

_MOST_BYTES = 1 << 20
_SECONDS_BETWEEN_LOOKS = 0.01
_SECONDS_OF_AN_END = 10.0
_UNKNOWN = 1
_PR_SET_CHILD_SUBREAPER = 36


def can_fork() -> bool:
    """Whether this system can fork a warm parent safely: Linux with handles of processes, as all since 2019 are."""
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
        pid: The number of the process; None until the parent has told it.
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
        """The exit code, once it has ended, and 1 where it was lost. Raises subprocess.TimeoutExpired."""
        return wait_for(lambda: self.give_up(_UNKNOWN) if self.is_lost else self.poll(), timeout)

    def send_signal(self, number: int) -> None:
        """Send a signal, or keep it until there is a process."""
        if self.poll() is not None:
            return
        if self._handle < 0:
            self._signal = number
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """End it at once. Where there is no process yet, the parent ends in its place."""
        if self.poll() is None and self._handle < 0:
            self.parent.kill()
            self.give_up(-signal.SIGKILL)
        else:
            self.send_signal(signal.SIGKILL)

    def give_up(self, code: int) -> int:
        """Take ``code`` for the exit code, and forget the process."""
        self.returncode = code
        for handle in (self._stdin, self._handle):
            if handle >= 0:
                os.close(handle)
        self._stdin = self._handle = -1
        return code

    def began(self, pid: int, handle: int) -> None:
        """The parent has forked."""
        self.pid, self._handle = pid, handle
        if self._signal is not None:
            self.send_signal(self._signal)

    def _ask_system(self, pid: int) -> None:
        """The parent is dead, so that its children are ours now."""
        try:
            done, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            self.give_up(_UNKNOWN)
            return
        if done:
            self.give_up(os.waitstatus_to_exitcode(status))


def wait_for(poll: Callable[[], int | None], timeout: float | None) -> int:
    """The exit code, once ``poll`` gives one. Raises subprocess.TimeoutExpired."""
    end = None if timeout is None else time.monotonic() + timeout
    while (code := poll()) is None:
        if end is not None and timeout is not None and time.monotonic() > end:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return code


class WarmParent:
    """A process that forks itself when it is asked to, running :func:`metaexp.machine.warm_parent.serve_forks`.

    Args:
        command: What to start. The number of its socket comes after it.
        env: Its environment, which the forked processes have, too.

    Attributes:
        is_alive: Whether it can be asked.
        is_ready: Whether it has come as far as to fork.
        is_noted: For whoever tells the user of its death once.
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
            arguments: Of the process.
            log: Where its output goes, after what is there.

        Returns:
            The process, which is lost where the parent has ended.
        """
        self._number += 1
        end, stdin = os.pipe()
        process = ForkedProcess(self, stdin)
        self._waiting[self._number] = process
        request = json.dumps({"number": self._number, "arguments": list(arguments)}).encode()
        try:
            with log.open("ab") as file:
                socket.send_fds(self._channel, [request], [end, file.fileno()])
        except OSError:
            if not log.parent.is_dir():
                raise
            self.read()
            self._end()
        finally:
            os.close(end)
        return process

    def read(self) -> None:
        """Take in what the parent has told meanwhile."""
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
        """How it ended, and the last line that it printed."""
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = os.pread(self._printed.fileno(), _MOST_BYTES, 0).decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how

    def kill(self) -> None:
        """End it at once; what it has forked goes on."""
        if self.is_alive:
            self.is_alive = False
            self._channel.close()
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Let it end: nothing more is asked of it."""
        if self.is_alive:
            self.is_alive = False
            self._channel.close()
            self._process.wait()
        self._printed.close()
        adopt_orphans(False)

    def _end(self) -> None:
        """The socket is closed at the other end: the parent has ended, or is about to."""
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
    """Let the children of a warm parent that dies become children of this process, which asks how they end."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
