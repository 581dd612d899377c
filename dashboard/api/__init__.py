"""The report API: keeps every revision of every minute's report in PostgreSQL and serves the newest."""
