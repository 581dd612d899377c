"""``python -m stack.chdb_http``: runs the front until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import signal
import sys

import uvicorn

from stack.chdb_http.app import create_app
from stack.chdb_http.config import read_config
from stack.chdb_http.engine import Engine, EngineUnavailableError


def main(argv: list[str]) -> int:
    """0 after a shutdown that was asked for, 1 where the engine or the port cannot be had; 2 is argparse's."""
    config = read_config(argv)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        engine = Engine(config)
    except EngineUnavailableError as error:
        print(f"chdb_http: {error}", file=sys.stderr)
        return 1
    # uvicorn raises the signal once more when it is done, for whoever started it; here that is the end, in peace.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(engine, config),
            host=config.host,
            port=config.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            # Not uvloop, which uvicorn takes when it is there: it closes the descriptor of a pipe twice, and the second
            # time it may have become one of the engine's own, which ends the engine.
            loop="asyncio",
            h11_max_incomplete_event_size=config.limits.max_query_bytes,
            timeout_graceful_shutdown=config.shutdown_seconds,
        )
    )
    try:
        server.run()
    except SystemExit:  # uvicorn's way to say that the port is taken; it has logged why
        return 1
    finally:
        engine.close()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
