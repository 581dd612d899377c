"""What sets a failed step apart: whether trying it again can help."""

from __future__ import annotations


class PermanentError(Exception):
    """Trying again would fail the same way; a person has to act. The DAG's retry policy fails the task at once."""


class TransientError(Exception):
    """Trying again later may work. The DAG retries it."""
