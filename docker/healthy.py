"""Health check of a container: ``python docker/healthy.py URL [KEY=VALUE]``.

Ends with 0 when a GET of the URL is answered with a success and, if asked, the JSON it answers with has that value
there: ``scheduler.status=healthy``. ``*`` stands for every entry of a list or an object, of which there must be one:
``tasks.*.state=RUNNING``.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterable
from typing import Any

TIMEOUT_SECONDS = 5.0


def answer(url: str) -> bytes:
    """The body of a successful answer.

    Raises:
        OSError: nothing answers, or it answers with an error.
    """
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310  the URL is the compose file's
        body: bytes = response.read()
        return body


def says(body: bytes, condition: str) -> bool:
    """Whether the JSON in ``body`` has the value at the key: ``a.b=value``."""
    path, _, wanted = condition.partition("=")
    found = [json.loads(body)]
    for key in path.split("."):
        found = [entry for each in found for entry in (_entries(each) if key == "*" else [each[key]])]
    return {str(each) for each in found} == {wanted}


def _entries(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def main(url: str, *conditions: str) -> int:
    try:
        body = answer(url)
        missing = [condition for condition in conditions if not says(body, condition)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        print(f"{url}: {error}")
        return 1
    if missing:
        print(f"{url} does not say {', '.join(missing)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
