"""The suite that every connector has to stand, and what is special about this one."""

import json
from typing import Any

from merkwacht_townhall import TownhallConnector

from connectors.base import Context
from connectors.conformance import ConnectorSuite, FaultServer, Reply


def questions(*items: dict[str, Any]) -> bytes:
    return json.dumps({"questions": items}).encode()


def question(number: int, text: str = "zonnehoek") -> dict[str, Any]:
    return {"number": number, "question": text, "asked_at": "2026-11-10T11:59:00+01:00"}


class TestTownhall(ConnectorSuite):
    connector = TownhallConnector
    one_post = questions(question(1))

    def options(self, url: str) -> dict[str, Any]:
        return {"url": f"{url}/questions", "timeout_seconds": 0.5, "max_bytes": 500_000}

    def test_a_question_without_a_number_is_set_aside(
        self, server: FaultServer, context: Context
    ) -> None:
        server.answer = Reply(body=questions({"question": "zonnehoek"}, question(2)))
        [page] = self.build(context, self.options(server.url)).fetch(None)
        assert [post.id for post in page.posts] == ["2"]
        assert len(page.rejects) == 1
