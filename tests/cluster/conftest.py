"""What the tests of a release on real nodes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.namespaces import removed
from tests.cluster.release import Release


@pytest.fixture
def release() -> Iterator[Release]:
    """A release that is not yet installed, in a namespace of its own, which ends with the test."""
    with removed(Release()) as made:
        yield made
