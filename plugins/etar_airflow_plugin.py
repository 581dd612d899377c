"""What Airflow has to know of by name: it looks for plugins in files of this folder, and ``etar/`` is left out."""

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from etar.pipeline.priority import NewestMinuteFirst


class PreloadBeforeForks:
    """Has the libraries of tasks imported by the scheduler and the DAG processor, before either forks anything."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        # Airflow calls it again in each task, which imports no more than it needs.
        if type(component).__name__ == "Job":
            import etar.pipeline.tasks.preload  # noqa: F401


class EtarPlugin(AirflowPlugin):
    name = "etar"
    priority_weight_strategies = [NewestMinuteFirst]  # noqa: RUF012  (as Airflow declares it)
    listeners = [PreloadBeforeForks()]  # noqa: RUF012
