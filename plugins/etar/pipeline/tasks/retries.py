"""Which failures are tried again, and the reason that stands in the task's log beside the decision."""

from __future__ import annotations

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

POLICY = ExceptionRetryPolicy(
    [
        RetryRule(
            ["etar.minute.NotOneMinuteError", "etar.errors.PermanentError"],
            RetryAction.FAIL,
            reason="Trying again cannot help: the error says what does.",
        ),
        RetryRule(
            "etar.errors.TransientError",
            RetryAction.RETRY,
            reason="A part is away or behind, which passes: `etar status` shows which. Tried again soon.",
        ),
        RetryRule("builtins.Exception", RetryAction.RETRY, reason="Not a known failure, and so tried again soon."),
    ]
)
"""The first rule that fits decides."""
