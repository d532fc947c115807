"""What every test needs before the first import, Ray without tokens or telemetry and no model hub; and an S3 server.

Also how pytest-xdist shares the suite out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.support.distribution import FilesTogether
    from tests.support.s3_server import S3Server

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"
# A thread for each core in each of many small processes: they wait for each other, busily, and compute nothing sooner.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A developer's own settings must not change what the tests see: every flag reads SCOT_… (scot/flags.py).
for name in [name for name in os.environ if name.startswith("SCOT_") and not name.startswith("SCOT_TEST_")]:
    del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesTogether:
    """Whatever ``--dist`` says: tests of one file share what they start."""
    from tests.support.distribution import FilesTogether

    return FilesTogether(config, log)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server, which ``s3://`` means."""
    from tests.support.s3_server import served

    with served() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Server]:
    """The same in fair weather, for one test."""
    s3_server.reset()
    yield s3_server
    s3_server.reset()
