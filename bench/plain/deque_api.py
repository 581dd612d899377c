"""The plain report API: the newest reports in a deque of the process, and gone with it.

uvicorn bench.plain.deque_api:app
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

from fastapi import Body, FastAPI

app = FastAPI()
_reports: deque[dict[str, Any]] = deque(maxlen=1440)


@app.post("/report", status_code=201)
async def publish(report: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    _reports.append(report)
    return report


@app.get("/report")
async def newest() -> dict[str, Any]:
    return _reports[-1]


@app.get("/reports")
async def reports() -> list[dict[str, Any]]:
    return list(_reports)
