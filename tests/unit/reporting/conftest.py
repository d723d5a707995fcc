"""Records made by hand, as `tradingbot_exp.tracking.reading.fetch` would."""

from datetime import UTC, datetime, timedelta

import pytest

from tradingbot_exp.tracking.reading.run_record import RunRecord

START = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def make_run():
    """Return a function that makes a run's record, a finished training run unless told otherwise."""

    def make(**given):
        described = {
            "run_id": "0123456789abcdef0123456789abcdef",
            "name": "mlp-ibm-20261124-120000",
            "experiment_id": "1",
            "experiment": "unit",
            "kind": "training",
            "status": "FINISHED",
            "started": START,
            "ended": START + timedelta(seconds=75),
            "params": {},
            "tags": {},
            "metrics": {},
        }
        return RunRecord(**{**described, **given})

    return make
