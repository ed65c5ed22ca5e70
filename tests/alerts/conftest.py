"""Real servers on loopback for the channels."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.alerts.mailserver import Certificates, Mailbox, mail_server, make_certificates
from tests.alerts.slackserver import Workspace, slack_server

# How long an example takes depends on the machine; whether it holds does not.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as served:
        yield served


@pytest.fixture
def slack() -> Iterator[Workspace]:
    with slack_server() as served:
        yield served


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is reached directly, whatever the machine's environment says."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
