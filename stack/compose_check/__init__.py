"""``make compose-check``: everything about the containers that can be known without a container engine.

Compose's own program says whether the file holds together, compose-lint and hadolint know the common mistakes, and the
rules here are this project's own: pure functions from a parsed :class:`~stack.compose_check.project.Project` to
findings. What a rule lets pass stands in a table beside it, each entry with its reason.
"""
