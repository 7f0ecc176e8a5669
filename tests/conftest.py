"""What tests of several kinds share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import s3


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a real S3 server; each test uses a prefix of its own."""
    with s3.running_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint
