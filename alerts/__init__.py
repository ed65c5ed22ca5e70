"""Who hears of it: from signals to incidents to notifications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alerts.alertmanager import AlertmanagerChannel
from alerts.apprise import AppriseChannel
from alerts.base import Channel
from alerts.email import EmailChannel
from alerts.slack import SlackChannel
from alerts.webhook import WebhookChannel

CHANNELS: Final[Mapping[str, type[Channel]]] = {
    "email": EmailChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "alertmanager": AlertmanagerChannel,
    "apprise": AppriseChannel,
}
"""Every kind of channel, by the word that configuration uses for it."""
