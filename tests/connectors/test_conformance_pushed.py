"""Sources that are swept and pushed, through the suite that connectors of others have to stand."""

from __future__ import annotations

import json
from typing import Any

from connectors.conformance import ConnectorSuite
from connectors.facebook import FacebookConnector
from connectors.instagram import InstagramConnector
from connectors.linkedin import LinkedInConnector


class TestFacebook(ConnectorSuite):
    connector = FacebookConnector
    one_post = json.dumps(
        {
            "data": [
                {"id": "1_2", "message": "zonnehoek", "created_time": "2026-11-10T11:59:00+0000"}
            ]
        }
    ).encode()
    nothing = b'{"data": []}'

    def options(self, url: str) -> dict[str, Any]:
        return {
            "base_url": url,
            "page_id": "1",
            "access_token": self.secret,
            "app_secret": f"{self.secret}-too",
            "timeout_seconds": 0.5,
        }


class TestInstagram(ConnectorSuite):
    connector = InstagramConnector
    one_post = json.dumps(
        {"data": [{"id": "1", "caption": "zonnehoek", "timestamp": "2026-11-10T11:59:00+0000"}]}
    ).encode()
    nothing = b'{"data": []}'

    def options(self, url: str) -> dict[str, Any]:
        return {
            "base_url": url,
            "account_id": "1",
            "access_token": self.secret,
            "app_secret": f"{self.secret}-too",
            "timeout_seconds": 0.5,
        }


class TestLinkedIn(ConnectorSuite):
    connector = LinkedInConnector
    one_post = json.dumps(
        {
            "elements": [
                {
                    "action": "COMMENT",
                    "organizationalEntity": "urn:li:organization:1",
                    "generatedActivity": "urn:li:comment:(activity:1,2)",
                    "decoratedGeneratedActivity": {"comment": {"text": "zonnehoek"}},
                    "lastModifiedAt": 1_794_311_940_000,
                }
            ]
        }
    ).encode()
    nothing = b'{"elements": []}'

    def options(self, url: str) -> dict[str, Any]:
        return {
            "base_url": url,
            "organization_id": "1",
            "access_token": self.secret,
            "client_secret": f"{self.secret}-too",
            "timeout_seconds": 0.5,
        }
