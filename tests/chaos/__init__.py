"""Chaos: a stack under load whose parts are killed and paused and whose links are cut, and the account at the end."""
