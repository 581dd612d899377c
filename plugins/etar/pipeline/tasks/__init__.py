"""The tasks of the DAGs: where settings and Airflow's connections meet the plain functions.

A task's process parses its DAG file, so each module imports what its own tasks need when they run.
"""
