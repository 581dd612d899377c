"""Links between parts that can be slowed and cut: toxiproxy in front of every port that another part speaks to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx

from stack.configuration import LINK_OFFSET, PORTS
from stack.layout import BUILD
from stack.waiting import wait_until
from tests.chaos.faults import Kind
from tests.ports import free_block

_OFFSET = 50
_LINKED = {
    "kafka": "KAFKA",
    "registry": "REGISTRY",
    "warehouse": "WAREHOUSE",
    "s3": "S3",
    "postgres": "POSTGRES",
    "api": "API",
    "airflow": "AIRFLOW",
}
_TOXIPROXY = BUILD / "bin" / "toxiproxy"
_TOXICS = {
    Kind.SLOW: {"type": "latency", "attributes": {"latency": 2000}},
    # 0: it never ends by itself. When it is taken away, the connections that met it are closed.
    Kind.SILENT: {"type": "timeout", "attributes": {"timeout": 0}},
}


class Links:
    """A proxy for each link, by name. Whole when nothing else was asked for."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._numbers = count()

    @contextmanager
    def disturbed(self, link: str, kind: Kind) -> Iterator[None]:
        """The link slow, cut or silent. Disturbances of different kinds add up."""
        if kind is Kind.CUT:
            self._post(f"/proxies/{link}", {"enabled": False})
        else:
            toxic = f"{kind}-{next(self._numbers)}"
            self._post(f"/proxies/{link}/toxics", {"name": toxic, **_TOXICS[kind]})
        try:
            yield
        finally:
            if kind is Kind.CUT:
                self._post(f"/proxies/{link}", {"enabled": True})
            else:
                self._client.delete(f"/proxies/{link}/toxics/{toxic}").raise_for_status()

    def _post(self, path: str, document: dict[str, object]) -> None:
        self._client.post(path, json=document).raise_for_status()


@dataclass(frozen=True)
class LinkedPorts:
    """Links between the parts of a stack that is started with ``variables``, which say where its parts listen."""

    variables: Mapping[str, str]
    links: Links


@contextmanager
def running_links_of_a_stack(folder: Path) -> Iterator[LinkedPorts]:
    """The links of a stack of one broker, on free ports; ``folder`` as in :func:`running_links`."""
    proxy_port = free_block(1 + len(PORTS) + _OFFSET)
    ports = {name: proxy_port + 1 + number for number, name in enumerate(PORTS)}
    ends = {link: (ports[f"ETAR_PORT_{name}"] + _OFFSET, ports[f"ETAR_PORT_{name}"]) for link, name in _LINKED.items()}
    with running_links(ends, proxy_port, folder) as links:
        yield LinkedPorts({name: str(port) for name, port in ports.items()} | {LINK_OFFSET: str(_OFFSET)}, links)


@contextmanager
def running_links(ports: Mapping[str, tuple[int, int]], port: int, folder: Path) -> Iterator[Links]:
    """Proxies that listen on the first port and lead to the second, for each name.

    Args:
        port: where toxiproxy itself is spoken to.
        folder: for its configuration and its log.
    """
    configuration = folder / "links.json"
    proxies = [
        {"name": name, "listen": f"127.0.0.1:{listen}", "upstream": f"127.0.0.1:{to}", "enabled": True}
        for name, (listen, to) in ports.items()
    ]
    configuration.write_text(json.dumps(proxies))
    command = [str(_TOXIPROXY), "-host", "127.0.0.1", "-port", str(port), "-config", str(configuration)]
    with (folder / "links.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            wait_until(lambda: _has_all(client, len(proxies)), timeout=20, what=f"the links ({log.name})")
            yield Links(client)
    finally:
        process.terminate()
        process.wait(20)


def _has_all(client: httpx.Client, number: int) -> bool:
    try:
        return len(client.get("/proxies").raise_for_status().json()) == number
    except httpx.TransportError:
        return False
