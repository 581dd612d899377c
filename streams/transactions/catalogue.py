"""What the shop sells, by its JSON Schema: which products are of which category."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))

PRODUCTS: Final[dict[str, tuple[str, ...]]] = {
    rule["if"]["properties"]["product_category"]["const"]: tuple(rule["then"]["properties"]["product_name"]["enum"])
    for rule in _SCHEMA["allOf"]
}
"""By category."""

CATEGORIES: Final = tuple(PRODUCTS)
