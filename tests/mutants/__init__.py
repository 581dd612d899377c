"""Mutation tests of the code that guards the account: ``make test-mutants``; see docs/testing.md."""
