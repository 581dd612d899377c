"""The registry with some of its schemas hidden. What a test registers later has its id from the start: the registry's
next id is nothing to guess, since another may be given it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx

from etar.clients import trusted_certificates
from etar.settings import RegistrySettings


@dataclass
class HidingRegistry:
    """Answers at ``settings`` as the real one does, but of an id in ``hidden`` as of one that was never given."""

    settings: RegistrySettings
    hidden: set[int] = field(default_factory=set)


@contextmanager
def hiding_registry(real: RegistrySettings) -> Iterator[HidingRegistry]:
    there = urlsplit(real.url)

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, by_id, schema_id = self.path.rpartition("/schemas/ids/")
            if by_id and int(schema_id) in registry.hidden:
                self._answer(404, json.dumps({"error_code": 40403, "message": "Schema not found"}).encode())
            else:
                self._forward(b"")

        def do_POST(self) -> None:
            self._forward(self.rfile.read(int(self.headers["Content-Length"])))

        def _forward(self, body: bytes) -> None:
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            answer = client.request(self.command, self.path, content=body, headers=headers)
            self._answer(answer.status_code, answer.content)

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *_: object) -> None:
            pass

    with (
        httpx.Client(base_url=f"{there.scheme}://{there.netloc}", timeout=30, verify=trusted_certificates()) as client,
        ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server,
    ):
        port = server.server_address[1]
        registry = HidingRegistry(RegistrySettings(url=there._replace(netloc=f"127.0.0.1:{port}").geturl()))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
