"""What etar adds to Airflow's web UI. Only the API server imports it: a task's process has no use for it."""
