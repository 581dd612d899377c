"""Supervisor keeps the parts running: its configuration for one stack, and a client to it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import Part, Stack
from stack.parts.base import write_if_changed
from stack.waiting import wait_until


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor knows of a part: its state (RUNNING, STOPPED, BACKOFF, ...), process id, 0 for none, and when
    its last process began (s, 0 for never)."""

    state: str
    pid: int
    began: int


def configuration(stack: Stack, parts: tuple[Part, ...]) -> str:
    """The text of supervisord.conf. It holds no secret: a part fetches its variables itself (:mod:`stack.launch`)."""
    layout = stack.layout
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": layout.supervisor_socket, "chmod": "0700"},
        "supervisord": {
            "logfile": layout.log("supervisor"),
            "logfile_maxbytes": "5MB",
            "logfile_backups": 1,
            "pidfile": layout.run / "supervisord.pid",
            "childlogdir": layout.logs,
            "directory": REPOSITORY,
            "umask": "077",
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    for part in parts:
        sections[f"program:{part.name}"] = {
            "command": f'"{sys.executable}" -m stack.launch "{layout.root}" {part.name}',
            "autostart": "false",  # started in order, each when what it needs is ready
            "autorestart": "true",
            "startsecs": 1,
            "startretries": 100,  # each try waits a second longer; giving up is for a person to do
            "stopsignal": part.stop_signal,
            "stopwaitsecs": part.stop_seconds,
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": layout.log(part.name),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 3,
        }
    lines: list[str] = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        lines.extend(f"{option}={str(value).replace('%', '%%')}" for option, value in options.items())
        lines.append("")
    return "\n".join(lines)


class _OverSocket(xmlrpc.client.Transport):
    """Over a Unix socket. The supervisor's package has one, too, whose import takes longer than what is asked."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(str(host))
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._file))
        return connection


class Supervisor:
    """Client of the supervisor of one stack; safe to use from several threads."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._lock = threading.Lock()

    def spawn(self, parts: tuple[Part, ...]) -> None:
        """Start the supervisor itself, in a session of its own so that a terminal's Ctrl-C does not reach it.

        Raises:
            TimeoutError: it does not answer; its log says why.
        """
        write_if_changed(self._stack.layout.supervisor_config, configuration(self._stack, parts))
        command = [str(VENV_BIN / "supervisord"), "-c", str(self._stack.layout.supervisor_config)]
        subprocess.run(
            command, env=self._stack.base_environment, cwd=REPOSITORY, check=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(
            self.is_running, timeout=15, what=f"supervisor to answer (see {self._stack.layout.log('supervisor')})"
        )

    def _call(self, method: str, *arguments: Any) -> Any:
        with self._lock:
            transport = _OverSocket(self._stack.layout.supervisor_socket)
            with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)

    def is_running(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def pid(self) -> int:
        return int(self._call("getPID"))

    def start(self, part: str) -> None:
        """Start a part; nothing happens when it runs."""
        self._tolerant("startProcess", part, False)

    def stop(self, part: str) -> None:
        """Ask a part to stop, without waiting for it; nothing happens when it does not run."""
        self._tolerant("stopProcess", part, False)

    def shutdown(self) -> None:
        self._call("shutdown")

    def states(self) -> dict[str, ProcessState]:
        """State of every part, by name; empty when no supervisor runs."""
        try:
            processes = self._call("getAllProcessInfo")
        except (OSError, xmlrpc.client.Error):
            return {}
        return {each["name"]: ProcessState(each["statename"], each["pid"], each["start"]) for each in processes}

    def _tolerant(self, method: str, *arguments: Any) -> None:
        from supervisor.xmlrpc import Faults

        try:
            self._call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (Faults.ALREADY_STARTED, Faults.NOT_RUNNING):
                raise
