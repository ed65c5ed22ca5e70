"""The server of the conformance suite, under the name that the tests of connectors know it by."""

from connectors.conformance.server import FaultServer, Reply, Request, unused_port

__all__ = ["FaultServer", "Reply", "Request", "unused_port"]
