"""Where the native stack keeps what it builds once (``.build``) and what belongs to one stack (its folder)."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / ".build"
VENV_BIN = Path(sys.executable).parent

_LONGEST_FOLDER_OF_SOCKETS = 70  # what Python makes in a temporary folder adds 31 bytes to it
_LONGEST_SOCKET_PATH = 100  # a Unix socket's path has at most 107 bytes, and supervisor appends a suffix while it binds


@dataclass(frozen=True)
class Layout:
    """The files of one stack, all below ``root`` (``./.etar`` unless asked otherwise)."""

    root: Path

    @classmethod
    def at(cls, folder: Path) -> Layout:
        return cls(folder.expanduser().absolute())

    @property
    def settings_file(self) -> Path:
        return self.root / "settings.env"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def accounts(self) -> Path:
        """One JSON file for each finished run of a producer: what it had acknowledged."""
        return self.root / "accounts"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def data(self, part: str) -> Path:
        return self.root / "data" / part

    @property
    def supervisor_config(self) -> Path:
        return self.run / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        beside = self.run / "supervisor.sock"
        if len(os.fsencode(beside)) <= _LONGEST_SOCKET_PATH:
            return beside
        return Path(tempfile.gettempdir()) / f"etar-{os.getuid()}-{self._short_name}.sock"

    def starts(self, part: str) -> Path:
        """When a part was started, the last times: one line each, in seconds."""
        return self.run / f"{part}.starts"

    def temporary(self, part: str) -> Path:
        """Folder of a part's temporary files, emptied at each of its starts: who is killed leaves them."""
        beside = self.run / "tmp" / part
        if len(os.fsencode(beside)) <= _LONGEST_FOLDER_OF_SOCKETS:
            return beside
        return Path(tempfile.gettempdir()) / f"etar-{self._short_name}-{part}"

    @property
    def _short_name(self) -> str:
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]

    def create(self) -> None:
        """Make the folders; readable by their owner only, since settings and data are."""
        self.root.mkdir(parents=True, exist_ok=True)
        for folder in (self.logs, self.run, self.accounts, self.root / "data"):
            folder.mkdir(mode=0o700, exist_ok=True)
