#!/usr/bin/env bash
# Version: jsonschema-rs 0.61.2, Python 3.11.
#
# Behaviour: it takes Decimals, and compares them exactly with a limit that is an integer (10) or has a fraction (10.5).
# With a limit that is whole but written with a point (10.0, also as Decimal("10.0")) it compares by way of a float, so
# that a value just beside the limit passes, in both directions. A schema written by a program that writes floats, or
# amounts with two digits (10.00), says limits in that form as a rule.
#
# Output seen:
#   minimum 10: refused
#   minimum 10.5: refused
#   minimum 10.0: passes
#   minimum Decimal 10.0: passes
#   maximum 10: refused
#   maximum Decimal 10.0: passes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "jsonschema-rs==0.61.2"
venv/bin/python - <<'PYTHON' > seen
from decimal import Decimal

import jsonschema_rs


def judged(keyword: str, limit: object, value: str) -> str:
    return "passes" if jsonschema_rs.validator_for({keyword: limit}).is_valid(Decimal(value)) else "refused"


for name, limit, value in (
    ("10", 10, "9.99999999999999999999"),
    ("10.5", 10.5, "10.49999999999999999999"),
    ("10.0", 10.0, "9.99999999999999999999"),
    ("Decimal 10.0", Decimal("10.0"), "9.99999999999999999999"),
):
    print(f"minimum {name}: {judged('minimum', limit, value)}")
for name, limit in (("10", 10), ("Decimal 10.0", Decimal("10.0"))):
    print(f"maximum {name}: {judged('maximum', limit, '10.00000000000000000001')}")
PYTHON
cat seen
diff seen - <<'EXPECTED'
minimum 10: refused
minimum 10.5: refused
minimum 10.0: passes
minimum Decimal 10.0: passes
maximum 10: refused
maximum Decimal 10.0: passes
EXPECTED
