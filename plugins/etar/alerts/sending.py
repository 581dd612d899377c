"""``python -m etar.alerts.sending``: sends the messages on its input (JSON), and says of each what came of it.

Where to comes from its settings. Nothing that it prints has more of an address than its host.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from etar.alerts.targets import TargetsError, targets
from etar.settings import AlertSettings, get_settings

_SECONDS = 20.0
"""For one message."""

_SHORTEST_SECRET = 4
_LONGEST_PROBLEM = 300


def send(address: str, message: Mapping[str, str]) -> str | None:
    """Why a target did not take a message; None: it has."""
    import apprise

    asset = apprise.AppriseAsset(
        app_id="etar", app_desc="etar", app_url="", async_mode=False, storage_mode=apprise.PersistentStoreMode.MEMORY
    )
    target = apprise.Apprise(asset=asset)
    if not target.add(address):
        return "its address is not understood: docs/alerts.md says where each kind is described"
    result = target.notify(
        title=message["title"],
        body=message["body"],
        body_format=apprise.NotifyFormat.TEXT,  # else a mail takes it for HTML
        notify_type=_kind(message["severity"]),
        timeout=_SECONDS,
    )
    if result:
        return None
    said = [each.message for one in result for each in one.logs() if each.level in ("WARNING", "ERROR", "CRITICAL")]
    return without_secrets("; ".join(said) or f"it did not take the message within {_SECONDS:g} s", address)


def without_secrets(text: str, address: str) -> str:
    """The text without anything that stands in the address, but for its scheme and host."""
    scheme, _, rest = address.partition("://")
    host = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
    for piece in sorted(re.split(r"[/?&=:@,;]", rest), key=len, reverse=True):
        if len(piece) >= _SHORTEST_SECRET and piece not in (scheme, host):
            text = text.replace(piece, "…")
    return " ".join(text.split())[:_LONGEST_PROBLEM]


def _kind(severity: str) -> Any:
    import apprise

    known = {"critical": apprise.NotifyType.FAILURE, "over": apprise.NotifyType.SUCCESS}
    return known.get(severity, apprise.NotifyType.WARNING)


def main() -> int:
    # The library's own lines may hold an address. They are not switched off: it makes its problems of them.
    logging.getLogger().addHandler(logging.NullHandler())
    by_target: dict[str, list[Mapping[str, str]]] = {}
    for message in json.load(sys.stdin):
        by_target.setdefault(message["target"], []).append(message)
    try:
        known = targets(get_settings(AlertSettings))
    except TargetsError as error:
        known, fault = {}, str(error)
    else:
        fault = "there is no target of this name"
    told = Lock()

    def tell(name: str) -> None:
        for message in by_target[name]:
            problem = send(known[name], message) if name in known else fault
            with told:
                print(json.dumps({"id": message["id"], "target": name, "problem": problem}), flush=True)
            if problem:
                return

    # Side by side: one that hangs keeps no other waiting.
    with ThreadPoolExecutor(max(1, len(by_target))) as pool:
        list(pool.map(tell, by_target))
    return 0


if __name__ == "__main__":
    sys.exit(main())
