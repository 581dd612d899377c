"""What Airflow has to know of by name: it looks for plugins in files of this folder, and ``etar/`` is left out."""

from airflow.plugins_manager import AirflowPlugin

from etar.pipeline.priority import NewestMinuteFirst


class EtarPlugin(AirflowPlugin):
    name = "etar"
    priority_weight_strategies = [NewestMinuteFirst]  # noqa: RUF012  (as Airflow declares it)
