"""Checks in scenarios: whatever is done to the parts, what is promised of them holds (docs/testing.md)."""
