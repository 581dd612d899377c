"""The report API and the dashboard that reads it."""

from __future__ import annotations

import sys

from etar.settings import DashboardSettings
from stack.layout import REPOSITORY
from stack.parts import object_store, warehouse
from stack.parts.base import Part, Stack, answers


def _api_environment(stack: Stack) -> dict[str, str]:
    """It reads and writes reports. Where an event is, it asks each place as a user who may only read. It knows which
    alerts there are, and not who is told."""
    own = (
        "ETAR_API_", "ETAR_REPORT_STORE_", "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_PIPELINE_", "ETAR_RECONCILE_",
        "ETAR_ALERTS_RULES",
    )  # fmt: skip
    return stack.settings.starting_with(*own) | warehouse.reader_settings(stack) | object_store.reader_settings(stack)


REPORT_API = Part(
    name="report-api",
    needs=("report-store",),
    command=lambda stack: [
        sys.executable, "-m", "uvicorn", "--factory", "dashboard.api.main:create_app",
        "--host", "127.0.0.1", "--port", str(stack.settings.port("API")), "--no-access-log",
        # Whoever listens to reports never goes by itself.
        "--timeout-graceful-shutdown", "2",
        # Longer than httpx's 5 s: whoever asks lets go of an idle connection first. At uvicorn's own 5 s both do at
        # once, and a request that is just on its way is answered by nothing.
        "--timeout-keep-alive", "30",
    ],
    environment=_api_environment,
    ready=lambda stack: answers(f"{stack.settings['ETAR_API_URL']}/health"),
    address=lambda stack: stack.settings["ETAR_API_URL"],
)  # fmt: skip


def dashboard_address(stack: Stack) -> str:
    """Where it is on this machine."""
    path = stack.settings.of(DashboardSettings).base_path
    return f"http://127.0.0.1:{stack.settings.port('DASHBOARD')}{path}"


DASHBOARD = Part(
    name="dashboard",
    needs=("report-store",),
    command=lambda stack: [
        sys.executable, "-m", "streamlit", "run", str(REPOSITORY / "dashboard" / "ui" / "app.py"),
        "--server.address", "127.0.0.1", "--server.port", str(stack.settings.port("DASHBOARD")),
        "--server.baseUrlPath", stack.settings.of(DashboardSettings).base_path,
        "--server.headless", "true", "--browser.gatherUsageStats", "false",
    ],
    environment=lambda stack: {
        "ETAR_DASHBOARD_AIRFLOW_URL": f"http://127.0.0.1:{stack.settings.port('AIRFLOW')}",
        **stack.settings.starting_with("ETAR_API_URL", "ETAR_API_READ_TOKEN", "ETAR_DASHBOARD_"),
    },
    ready=lambda stack: answers(f"{dashboard_address(stack)}/_stcore/health"),
    address=dashboard_address,
)  # fmt: skip
