"""Finds what only an insider would name: private addresses, internal hosts, file shares, paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from classifiers.base import Confidence, Finding, LeakCategory
from classifiers.detectors.base import Telltale, words

_PRIVATE = re.compile(
    r"(?<![A-Za-z0-9.])(?:10(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|172\.(?:1[6-9]|2\d|3[01])(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){2}"
    r"|192\.168(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){2}|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){2})"
    r"(?:/\d{1,2}|:\d{2,5})?(?![\d.]*\d)"
)
_IP = re.compile(
    r"(?<![A-Za-z0-9.])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
    r"(?:/\d{1,2}|:\d{2,5})?(?![\d.]*\d)(?![A-Za-z])"
    r"|(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?:%\w{1,15}|/\d{1,3})?(?![\w:])"
)
_LEAST_HEX = 4
_EVERYBODYS = re.compile(
    r"(?:127|0|255|22[4-9]|23\d|169\.254|8\.8\.(?:8\.8|4\.4)|1\.(?:1\.1\.1|0\.0\.1)|9\.9\.9\.9)(?=[.:/]|$)",
)
"""Loopback, broadcast, multicast and the well-known resolvers."""
_VERSIONED = re.compile(
    r"\b(?:versie|version|v|build|firmware|release|update|patch|driver|ios|android|windows|chrome|firefox|chapter|hoofdstuk"
    r"|paragraaf|section|artikel|regel)[ :.]{0,2}\Z",
    re.IGNORECASE,
)
_SERVING = words(
    *(
        "ip",
        "ip-?adres",
        "ip address",
        "servers?",
        "database",
        "db",
        "admin",
        "vpn",
        "ssh",
        "rdp",
        "smb",
    ),
    *(
        "poort",
        "port",
        "open poort",
        "firewall",
        "gateway",
        "host",
        "elastic(?:search)?",
        "mongo(?:db)?",
    ),
    *(
        "kibana",
        "grafana",
        "jenkins",
        "bucket",
        "exposed",
        "blootgesteld",
        "productie",
        "production",
    ),
    *("backup", "login", "zonder wachtwoord", "no password", "unauthenticated", "proxy", "cluster"),
)


def _is_ip(value: str) -> bool:
    """Tell whether ``value`` is an address of a machine, of either version."""
    if ":" not in value or "." in value.split(":", 1)[0]:
        return _PRIVATE.fullmatch(value) is None  # the pattern has seen to the rest
    bare = re.split(r"[%/]", value, maxsplit=1)[0]
    try:
        ip_address(bare)
    except ValueError:
        return False
    return sum(c not in ":." for c in bare) >= _LEAST_HEX


_HOME_ADDRESS = re.compile(r"192\.168\.(?:0|1|2|178)\.\d{1,3}|10\.0\.[01]\.[12]\b")
_AT_HOME = words("router", "modem", "thuis", "home", "fritz", "ziggo", "kpn", "wifi", "playstation")
_HOST = re.compile(
    r"(?:(?<=://)|(?<![A-Za-z0-9@./-]))(?:"
    r"(?:[a-z0-9][a-z0-9-]{0,40}\.){1,5}(?:local|internal|intern|intranet|corp|lan|int)(?![A-Za-z0-9-]|\.[a-z])"
    r"|(?:[a-z0-9][a-z0-9-]{0,40}\.){0,3}(?:internal|intern|intranet|corp|lan)\.(?:[a-z0-9-]{2,40}\.){1,2}[a-z]{2,6}(?![A-Za-z0-9-])"
    r")(?::\d{2,5})?"
    r"|(?<![A-Za-z0-9@./-])(?:prd?|prod|acc|tst|dev|db|sql|dc|srv|vm|esx|core|pay|web|app|file|mail|nas|jmp|fw|sw|rtr)[a-z]{0,6}"
    r"-(?:[a-z0-9]{2,12}-0\d{1,2}|(?:fw|sw|rtr|sql|db|dc|vm|esx|srv|jmp|web|app|api|k8s|node|host|nas|prd|prod)-\d{1,3})"
    r"(?![A-Za-z0-9-])",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"(?<![A-Za-z0-9@.-])(?:"
    r"[a-z0-9][a-z0-9-]{1,60}\.sharepoint\.com/(?:sites|teams|personal|:[a-z]:)/[^\s<>\"']{1,300}"
    r"|[a-z0-9][a-z0-9-]{1,60}\.atlassian\.net/(?:wiki|browse|jira|secure|servicedesk)/[^\s<>\"']{1,300}"
    r"|(?:[a-z0-9-]{1,40}\.){0,2}(?:intranet|confluence|jira|gitlab|bitbucket|jenkins|grafana|kibana|nexus|artifactory|topdesk"
    r"|servicenow|vpn|citrix|owa)\.(?!com\b|org\b|io\b|atlassian\b)[a-z0-9-]{2,40}\.[a-z]{2,6}(?:\.[a-z]{2})?(?::\d{2,5})?/[^\s<>\"']{1,300}"
    r")",
    re.IGNORECASE,
)
_SEGMENT = r"[\w$ .-]{1,80}"
_UNC = re.compile(
    rf"(?<![\\\w])\\\\[A-Za-z0-9._-]{{2,60}}\\{_SEGMENT}(?:\\{_SEGMENT}){{0,8}}"
    r"|(?<![:\w/])//(?:[A-Za-z0-9-]{2,40}(?:\.[a-z-]{1,40}){0,3}\.(?:local|lan|corp|intern|internal)|[A-Za-z][A-Za-z0-9-]{1,40}"
    r"|\d{1,3}(?:\.\d{1,3}){3})/[\w$.-]{1,80}(?:/[\w$.-]{1,80}){1,8}"
    r"|(?<!\w)(?:smb|cifs|nfs|afp)://[\w.-]{2,60}/[\w$.%/-]{1,200}"
)
_DRIVE = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]:\\(?:[\w .$-]{1,60}\\){1,8}[\w .$-]{1,60}"
    r"|(?<![A-Za-z0-9])[A-Z]:/(?:[\w .$-]{1,60}/){1,8}[\w .$-]{1,60}"
    r"|(?<![\w/])/(?:mnt|srv|opt|home|data|etc|root|Users|usr/local|var/(?:www|lib|log|backups?))/[\w.-]{1,60}(?:/[\w.-]{1,60}){1,8}"
)
_INSIDE = words(
    "vpn",
    "firewall",
    "intranet",
    "server",
    "servers",
    "netwerk",
    "network",
    "database",
    "backup",
    "admin",
    "root",
    "pentest",
    "productie",
    "prod",
    "production",
    "klanten",
    "patiënten",
    "customers",
    "share",
    "schijf",
    "exchange",
    "domain",
    "subnet",
    "open",
    "plat",
    "down",
    "leak",
    "breach",
    "hack",
)


@dataclass(frozen=True, slots=True)
class InfrastructureDetector:
    """One sort of internal address. Sure only with words of the trade near it."""

    name: str
    pattern: re.Pattern[str]
    must_match: Sequence[str]
    must_not_match: Sequence[str]
    alone: Confidence = Confidence.LOW
    told: Confidence = Confidence.MEDIUM
    harmless: re.Pattern[str] | None = None
    """Values that say nothing."""
    at_home: Telltale | None = None
    """Words that say it is the writer's own."""
    no_place: re.Pattern[str] | None = None
    """What stands right before a number that is no address at all."""
    inside: Telltale = _INSIDE
    """Words of the trade."""
    valid: Callable[[str], bool] | None = None

    def find(self, text: str) -> Iterator[Finding]:
        """Yield the internal addresses of ``text``."""
        for match in self.pattern.finditer(text):
            if self.valid and not self.valid(match[0]):
                continue
            if self.no_place and self.no_place.search(
                text[max(0, match.start() - 16) : match.start()]
            ):
                continue
            if (self.harmless and self.harmless.match(match[0])) or (
                self.at_home and self.at_home.near(text, *match.span())
            ):
                confidence = Confidence.LOW
            else:
                confidence = self.told if self.inside.near(text, *match.span()) else self.alone
            yield Finding(self.name, LeakCategory.SECURITY, match.start(), match.end(), confidence)


def detectors() -> list[InfrastructureDetector]:
    """Return one detector per sort of internal address."""
    return [
        InfrastructureDetector(
            name="private-address",
            pattern=_PRIVATE,
            harmless=_HOME_ADDRESS,
            at_home=_AT_HOME,
            must_match=(
                "domain admin via een printer op 172.16.4.19",
                "heel 10.40.8.0/21 lag plat",
                "10.66.2.14:27015",
            ),
            must_not_match=("versie 10.2.3", "203.0.113.58:9200", "172.32.0.1", "10.1.2.3.4"),
        ),
        InfrastructureDetector(
            name="ip-address",
            pattern=_IP,
            valid=_is_ip,
            harmless=_EVERYBODYS,
            no_place=_VERSIONED,
            inside=_SERVING,
            must_match=(
                "de database staat open op 203.0.113.58:9200",
                "hun server is 2001:db8:85a3::8a2e:370",
                "ssh root@198.51.100.7",
            ),
            must_not_match=(
                "versie 10.2.3",
                "tot 12:30:45",
                "1.2.3.4.5",
                "std::vector",
                "10.66.2.14",
                "300.1.2.3",
            ),
        ),
        InfrastructureDetector(
            name="internal-host",
            pattern=_HOST,
            must_match=(
                "de only admin for pay-jmp-03 was on a flight",
                "kijk op wiki.teasel.local:8443",
                "regel teruggezet op core-fw-02",
            ),
            must_not_match=(
                "kijk op www.teasel.nl",
                "app-update van 3 mei",
                "a.b@teasel.local",
                "covid-19",
            ),
        ),
        InfrastructureDetector(
            name="intranet-link",
            pattern=_LINK,
            alone=Confidence.MEDIUM,
            must_match=(
                "https://intranet.teasel.nl/hr/reorganisatie",
                "https://teasel.sharepoint.com/sites/directie/plan.docx",
                "zie https://teasel.atlassian.net/wiki/spaces/MT/pages/88213",
                "https://jira.teasel.nl/browse/OPS-991",
            ),
            must_not_match=(
                "https://www.atlassian.com/software/confluence",
                "https://gitlab.com/teasel/docs",
                "ons intranet is traag",
                "https://jira.atlassian.com/browse/JRA-1",
            ),
        ),
        InfrastructureDetector(
            name="file-share",
            pattern=_UNC,
            alone=Confidence.MEDIUM,
            must_match=(r"staat gewoon op \\fs01\HR\Salarissen 2026.xlsx",),
            must_not_match=(r"\\o/ hoera", r"regel 1\\nregel 2", "https://teasel.example//x"),
        ),
        InfrastructureDetector(
            name="file-path",
            pattern=_DRIVE,
            must_match=(
                r"open G:\Directie\Reorganisatie\plan.docx",
                "backup ligt in /srv/klanten/export/2026.csv",
            ),
            must_not_match=("24/7 open", "/home", "C: is vol", "en/of/maar"),
        ),
    ]
