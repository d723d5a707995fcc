"""Hydra's own tests of launchers, which come with it, run against ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from support import in_ci

pytestmark = in_ci


@pytest.fixture(autouse=True, scope="module")
def plugins() -> Iterator[None]:
    """Find all plugins first: the suites put back whatever was registered before each test."""
    before = dict(Singleton._instances)
    Plugins.instance()
    yield
    Singleton._instances = before


@pytest.mark.parametrize(("launcher_name", "overrides"), [("stacked", [])])
class TestStackedLauncher(LauncherTestSuite):
    """Jobs of any app, in one batch."""


@pytest.mark.parametrize(("launcher_name", "overrides"), [("stacked", ["hydra.sweeper.max_batch_size=2"])])
class TestStackedLauncherInBatches(BatchedSweeperTestSuite):
    """Jobs of any app, in batches of two."""


@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=stacked"])])
class TestStackedLauncherInApps(IntegrationTestSuite):
    """Apps started by the command line."""
