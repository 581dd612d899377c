"""``etar produce``: the producer's command, with ``--dir``."""

from __future__ import annotations

from cli.context import in_stack
from producer import command

produce = in_stack(command.produce, "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_PIPELINE_")
