"""Who wrote on Bluesky: profiles by number of the account, many at once, for the search and the stream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from connectors.base import ConnectorError, SourceFault
from connectors.counts import count_or_none
from connectors.http import Fetched, redact_url

AT_ONCE = 25
MAX_BYTES = 4 * 2**20


def asking_for(numbers: Sequence[str]) -> str:
    """The method that gives the profiles of up to :data:`AT_ONCE` accounts, with its parameters."""
    return f"app.bsky.actor.getProfiles?{urlencode([('actors', number) for number in numbers])}"


def profiles_in(fetched: Fetched) -> dict[str, Mapping[str, Any]]:
    """The profiles of an answer, by number. Accounts that are gone are missing.

    Raises:
        ConnectorError: it is no list of profiles.
    """
    try:
        found = json.loads(fetched.body)["profiles"]
        return {one["did"]: one for one in found if isinstance(one["did"], str)}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ConnectorError(
            f"{redact_url(fetched.url)}: the answer is no list of profiles "
            f"({type(error).__name__})",
            fault=SourceFault.BAD_RESPONSE,
        ) from error


def followers_of(profile: Mapping[str, Any]) -> int | None:
    """How many follow an account; None where it does not say."""
    return count_or_none(profile.get("followersCount"))
