"""The dashboard: a client of the report API, pure functions that return figures, and a page that arranges them."""
