"""What the producer says on standard error."""

from __future__ import annotations

import logging


def show_logs(who: str) -> None:
    """Show messages from INFO on, unless whoever started us has already decided about logs."""
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {who}: %(message)s")
    for chatty in ("httpx", "httpx2"):  # a line for each request to the registry
        logging.getLogger(chatty).setLevel(logging.WARNING)
