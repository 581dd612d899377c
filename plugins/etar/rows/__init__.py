"""Rows of a file of events: what their values mean, and what it takes to make records of them."""
