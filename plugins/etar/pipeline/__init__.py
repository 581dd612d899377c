"""The steps of ``etar_pipeline`` as plain functions: settle, extract, publish; and what is reported again.

They know Airflow's hooks by shape only; Airflow is met in ``tasks``. Analyse is ``spark_apps/minute_report.py``, a
program of its own.
"""
