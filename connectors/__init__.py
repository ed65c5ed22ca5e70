"""Where it was said: one class per kind of source, from a source to posts."""

from connectors.appstore import AppstoreConnector
from connectors.base import Connector
from connectors.bluesky import BlueskyConnector
from connectors.facebook import FacebookConnector
from connectors.file import FileConnector
from connectors.googlealerts import GoogleAlertsConnector
from connectors.googleplay import GooglePlayConnector
from connectors.hackernews import HackerNewsConnector
from connectors.imap import ImapConnector
from connectors.instagram import InstagramConnector
from connectors.jetstream import JetstreamConnector
from connectors.linkedin import LinkedInConnector
from connectors.mastodon import MastodonConnector
from connectors.plugins import discover
from connectors.reddit import RedditConnector
from connectors.rss import RssConnector
from connectors.trustpilot import TrustpilotConnector
from connectors.webhook import WebhookConnector
from connectors.x import XConnector
from connectors.youtube import YoutubeConnector

BUILT_IN: dict[str, type[Connector]] = {
    "appstore": AppstoreConnector,
    "bluesky": BlueskyConnector,
    "facebook": FacebookConnector,
    "file": FileConnector,
    "googlealerts": GoogleAlertsConnector,
    "googleplay": GooglePlayConnector,
    "hackernews": HackerNewsConnector,
    "imap": ImapConnector,
    "instagram": InstagramConnector,
    "jetstream": JetstreamConnector,
    "linkedin": LinkedInConnector,
    "mastodon": MastodonConnector,
    "reddit": RedditConnector,
    "rss": RssConnector,
    "trustpilot": TrustpilotConnector,
    "webhook": WebhookConnector,
    "x": XConnector,
    "youtube": YoutubeConnector,
}
"""The kinds of source that come with the program: the word in the configuration, and the class."""

FOUND = discover(BUILT_IN)
"""What other installed packages bring, and what of it cannot be used."""

CONNECTORS: dict[str, type[Connector]] = {**BUILT_IN, **FOUND.connectors}
"""Every kind of source: the word in the configuration, and the class that polls it."""
