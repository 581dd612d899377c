"""What the front is started with: flags, and users with their secrets from the environment."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Caps that no client can raise. Bytes and seconds."""

    max_body_bytes: int = 4 * GIB
    max_query_bytes: int = 1 << 20
    max_execution_time: int = 300
    max_memory_usage: int = 2 * GIB
    max_server_memory_usage: int = 4 * GIB
    max_concurrent_queries: int = 8
    queue_seconds: float = 10.0


@dataclass(frozen=True)
class Config:
    """The passwords never appear in the arguments of the process, its logs or its representation.

    ``reader``: a second user, who may only read; none without a password.
    """

    path: Path
    user: str
    password: str = field(repr=False)
    reader: str = "reader"
    reader_password: str = field(default="", repr=False)
    host: str = "127.0.0.1"
    port: int = 8123
    databases: tuple[str, ...] = ()
    shutdown_seconds: int = 10
    limits: Limits = field(default_factory=Limits)


def read_config(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of one start. Exits with a message, status 2, where it is not safe or not complete."""
    parser = argparse.ArgumentParser(prog="python -m stack.chdb_http", description=__doc__)
    defaults = Limits()
    parser.add_argument("--path", type=Path, required=True, help="directory of the data; one process at a time")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--allow-remote", action="store_true", help="allow a --host that other machines can reach")
    parser.add_argument("--database", action="append", default=[], help="create this database; may be repeated")
    parser.add_argument("--shutdown-seconds", type=int, default=10, help="time for running queries after SIGTERM")
    for name, value in vars(defaults).items():
        flag, variable = f"--{name.replace('_', '-')}", f"CHDB_HTTP_{name.upper()}"
        parser.add_argument(flag, type=type(value), default=environ.get(variable, value), help=f"or ${variable}")
    args = parser.parse_args(argv)
    password = environ.get("CHDB_HTTP_PASSWORD", "")
    if not password:
        parser.error("CHDB_HTTP_PASSWORD is not set: the front does not start without a password")
    reader_password = environ.get("CHDB_HTTP_READER_PASSWORD", "")
    if reader_password and environ.get("CHDB_HTTP_READER", "reader") == environ.get("CHDB_HTTP_USER", "default"):
        parser.error("CHDB_HTTP_READER and CHDB_HTTP_USER are the same name; give the reader one of its own")
    if not args.allow_remote and not _is_loopback(args.host):
        parser.error(f"{args.host} can be reached from other machines; say --allow-remote if that is meant")
    if "?" in str(args.path):
        parser.error("chDB cannot open a path with a question mark in it")
    limits = Limits(**{name: getattr(args, name) for name in vars(defaults)})
    return Config(
        path=args.path.absolute(),
        user=environ.get("CHDB_HTTP_USER", "default"),
        password=password,
        reader=environ.get("CHDB_HTTP_READER", "reader"),
        reader_password=reader_password,
        host=args.host,
        port=args.port,
        databases=tuple(args.database),
        shutdown_seconds=args.shutdown_seconds,
        limits=limits,
    )


def _is_loopback(host: str) -> bool:
    """Whether every address that ``host`` stands for is this machine's own; an unknown name is not."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(addresses) and all(ipaddress.ip_address(str(a).partition("%")[0]).is_loopback for a in addresses)
