"""The report API and the dashboard that reads it."""

from __future__ import annotations

import sys

from stack.layout import REPOSITORY
from stack.parts.base import Part, answers

REPORT_API = Part(
    name="report-api",
    needs=("report-store",),
    command=lambda stack: [
        sys.executable, "-m", "uvicorn", "--factory", "dashboard.api.main:create_app",
        "--host", "127.0.0.1", "--port", str(stack.settings.port("API")), "--no-access-log",
    ],
    environment=lambda stack: stack.settings.starting_with("ETAR_API_", "ETAR_REPORT_STORE_"),
    ready=lambda stack: answers(f"{stack.settings['ETAR_API_URL']}/health"),
    address=lambda stack: stack.settings["ETAR_API_URL"],
)  # fmt: skip

DASHBOARD = Part(
    name="dashboard",
    needs=("report-store",),
    command=lambda stack: [
        sys.executable, "-m", "streamlit", "run", str(REPOSITORY / "dashboard" / "ui" / "app.py"),
        "--server.address", "127.0.0.1", "--server.port", str(stack.settings.port("DASHBOARD")),
        "--server.headless", "true", "--browser.gatherUsageStats", "false",
    ],
    environment=lambda stack: stack.settings.starting_with("ETAR_API_URL", "ETAR_API_READ_TOKEN", "ETAR_DASHBOARD_"),
    ready=lambda stack: answers(f"http://127.0.0.1:{stack.settings.port('DASHBOARD')}/_stcore/health"),
    address=lambda stack: f"http://127.0.0.1:{stack.settings.port('DASHBOARD')}",
)  # fmt: skip
