"""What every connector has to stand: a suite for pytest that other packages can run on theirs.

    from connectors.conformance import ConnectorSuite

    class TestTownhall(ConnectorSuite):
        connector = TownhallConnector
        one_post = b'{"questions": [{"number": 1, "question": "zonnehoek", …}]}'

        def options(self, url):
            return {"url": f"{url}/questions", "timeout_seconds": 0.5}

Everything runs against a real server on loopback that answers as badly as the world does. The posts of
``one_post`` and ``nothing`` speak of ``zonnehoek``, the brand that the suite watches.
"""

import pytest

pytest.register_assert_rewrite("connectors.conformance.suite")

from connectors.conformance.server import FaultServer, Reply, Request  # noqa: E402 - rewritten first
from connectors.conformance.suite import FAULTS, ConnectorSuite, Fault, MovedClock  # noqa: E402 - same

__all__ = ["FAULTS", "ConnectorSuite", "Fault", "FaultServer", "MovedClock", "Reply", "Request"]
