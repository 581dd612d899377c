"""Settings of the pipeline that do not fit each other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from etar.settings import PipelineSettings


@pytest.mark.parametrize(("horizon", "fits"), [(25.99, True), (26, False), (27, False)])
def test_what_is_believed_must_be_kept_for_longer(horizon: float, fits: bool) -> None:
    def settings() -> PipelineSettings:
        return PipelineSettings(
            start_date=datetime(2026, 11, 21, tzinfo=UTC), horizon_hours=horizon, retention_hours=26
        )

    if fits:
        assert settings().horizon < settings().retention
    else:
        with pytest.raises(ValidationError, match=rf"horizon_hours \({horizon:g}\) must be less than retention_hours"):
            settings()
