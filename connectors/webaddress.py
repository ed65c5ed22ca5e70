"""Addresses of pages: one way to write each, and whether two lead to the same article."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from connectors.plaintext import web_url

_MOST_WRAPPINGS = 3
_GOOGLE = re.compile(r"(www\.)?google\.(com?\.)?[a-z]{2,3}")
_TRACKING = re.compile(
    r"utm_\w+|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|igshid|mc_cid|mc_eid"
    r"|_hsenc|_hsmi|mkt_tok|ocid|cmpid",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}
_MIRROR = re.compile(r"^(?:www\d?|m|mobile|amp)\.(?=[^.]+\.)")
_AMP = re.compile(r"(?:^|/)amp/?$|\.amp(?=\.html?$)|(?<=\.html)\.amp$")


def unwrap(link: str) -> str:
    """Give the address that a redirect of Google leads to; any other link as it is."""
    for _ in range(_MOST_WRAPPINGS):
        parts = urlsplit(link)
        if parts.path != "/url" or not _GOOGLE.fullmatch((parts.hostname or "").lower()):
            break
        query = parse_qs(parts.query)
        target = web_url((query.get("url") or query.get("q") or [""])[0])
        if target is None:
            break
        link = target
    return link


def canonical(link: str) -> str:
    """Write an address as all who link to the same article would.

    Host in lower case, no standard port, no fragment, none of the parameters by which newsletters
    and advertisements are told apart. Everything that can choose an article stays.
    """
    try:
        parts = urlsplit(link)
        port = parts.port
    except ValueError:
        return link
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS.get(scheme):
        host = f"{host}:{port}"
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if not _TRACKING.fullmatch(name)]
    # Rewritten only where something was taken out: odd but meant spellings stay.
    query = parts.query if len(kept) == len(pairs) else urlencode(kept)
    return urlunsplit((scheme, host, parts.path or "/", query, ""))


def page_key(link: str) -> str | None:
    """Write an address so that copies of one page agree: with or without www, for telephones, as AMP.

    None for what is no page of its own: the front page of a site, which many articles link to.
    """
    try:
        parts = urlsplit(canonical(unwrap(link)))
    except ValueError:
        return None
    host = parts.netloc
    while (shorter := _MIRROR.sub("", host)) != host:
        host = shorter
    path = _AMP.sub("", parts.path.rstrip("/")).rstrip("/")
    kept = [pair for pair in parts.query.split("&") if pair and pair not in _AMP_MARKS]
    if not host or (not path and not kept):
        return None
    return f"{host}{path}?{'&'.join(sorted(kept))}" if kept else f"{host}{path}"


_AMP_MARKS = frozenset({"amp", "amp=1", "amp=true", "outputType=amp"})
