"""The long forms of what ``make test`` shows in short: ``make test-long``."""
