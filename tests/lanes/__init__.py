"""What `make test` runs, part after part in lanes that may run side by side, and its one summary."""
