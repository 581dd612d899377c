"""The steps of ``etar_pipeline`` as plain functions: settle, extract, publish. They know Airflow's hooks by shape only.

Analyse is ``spark_apps/interaction_report.py``, a program of its own.
"""
