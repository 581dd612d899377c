"""What `make test` runs: lanes of parts side by side, and what they found in one summary."""
