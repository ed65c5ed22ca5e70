"""Finds document markings: ``vertrouwelijk``, ``internal use only``, ``TLP:RED``.

Talk *about* confidentiality is everywhere (headlines, privacy policies, complaints). A marking is
found only in the forms that stand on documents and in mails, and is never sure by itself. The bare
word is low: on our training posts it stands above jokes and old papers as often as above leaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from classifiers.base import Confidence, Finding, LeakCategory


@dataclass(frozen=True, slots=True)
class MarkingDetector:
    """One form of marking."""

    name: str
    pattern: re.Pattern[str]
    confidence: Confidence
    must_match: Sequence[str]
    must_not_match: Sequence[str]

    def find(self, text: str) -> Iterator[Finding]:
        """Yield the markings of ``text``."""
        for match in self.pattern.finditer(text):
            yield Finding(
                self.name, LeakCategory.INTERNAL, match.start(), match.end(), self.confidence
            )


def detectors() -> list[MarkingDetector]:
    """Return one detector per form of marking."""
    return [
        MarkingDetector(
            name="tlp",
            pattern=re.compile(r"\bTLP[ :_-]{1,3}(?:RED|AMBER(?:\+STRICT)?)\b", re.IGNORECASE),
            confidence=Confidence.MEDIUM,
            must_match=("Bovenaan staat TLP:RED maar mensen drinken dit", "tlp amber, punt 3"),
            must_not_match=("TLP:GREEN bulletin", "tlp rules"),
        ),
        MarkingDetector(
            name="distribution",
            pattern=re.compile(
                r"""\b(?:niet\s(?:extern\s(?:delen|gebruiken)|(?:extern\s)?(?:doorsturen|verspreiden|communiceren|naar\sbuiten(?:\sbrengen)?)
                    |delen\s(?:buiten|met\sderden)|(?:bestemd\s)?voor\spublicatie|bestemd\svoor\s(?:derden|verspreiding)|citeren)
                    |(?:alleen|uitsluitend|enkel)\svoor\s(?:de\s)?(?:ogen\svan\s(?:de\s|het\s)?)?(?:directie|mt|bestuur|management|rvb|rvc)
                    |(?:alleen|uitsluitend|enkel|strikt)\s(?:voor\s)?intern(?:e)?\s(?:gebruik|verspreiding)|voor\sintern\sgebruik
                    |(?:do\s)?not?\s(?:for\s)?(?:distribut(?:e|ion)|(?:external(?:ly)?\s)?forward(?:ed|ing)?\soutside|share\s(?:outside|externally)|discuss\swith\sstaff)
                    |no\sexternal\smention|(?:for\s)?internal\s(?:use|distribution)\sonly|strictly\sinternal|internal\sonly
                    |(?<!your\s)eyes\sonly|not\sfor\sexternal\s(?:distribution|release|use)|not\sfor\s(?:publication|release)|keep\sthis\s(?:strictly\s)?internal)\b""",
                re.IGNORECASE | re.VERBOSE,
            ),
            confidence=Confidence.MEDIUM,
            must_match=(
                "'Per 1 februari vergoeden we dit niet meer. Niet communiceren richting cliënten'",
                "uitsluitend voor intern gebruik, staat erop",
                "keep this strictly internal, zeker niks tegen de agency",
                "accept the risk, no external mention",
            ),
            must_not_match=(
                "intern bij de klantenservice kunnen ze het niet vinden",
                "I do not share your opinion",
            ),
        ),
        MarkingDetector(
            name="classification",
            pattern=re.compile(
                r"""(?:(?<=^)|(?<=["'\[(|/\n]))\s?
                    (?:(?:strikt|zeer|commercieel|bedrijfs)[ -]?)?(?:STRIKT\s|ZEER\s)?
                    (?:VERTROUWELIJK|GEHEIM|CONFIDENTIAL|OFFICIAL[- ]SENSITIVE
                    |[Bb]edrijfsgeheim|[Vv]ertrouwelijk|[Cc]onfidential|Geheim)
                    (?=\s?[,:\])|/."'\n]|\s-)
                  | \b(?:STRIKT|ZEER|STAATS)[ -]?(?:VERTROUWELIJK|GEHEIM)\b
                  | \b(?:STRICTLY|HIGHLY|COMPANY)[- ]CONFIDENTIAL\b | \bCOMMERCIAL[- ]IN[- ]CONFIDENCE\b
                  | \bOFFICIAL[- ]SENSITIVE\b | \b(?i:private[ ](?:&|and)[ ]confidential)\b
                  | \b(?i:(?:strikt|zeer)\s(?:vertrouwelijk|geheim)|(?:strictly|highly|company)\sconfidential
                    |bedrijfsvertrouwelijk|departementaal\svertrouwelijk)\b""",
                re.VERBOSE,
            ),
            confidence=Confidence.LOW,
            must_match=(
                '"CONFIDENTIAL, site leads only: redundancy selection begins Monday"',
                "STRIKT GEHEIM staat er op pagina 1",
                "Vertrouwelijk: notulen MT 3 november",
            ),
            must_not_match=(
                "reading out the same card about 'confidential matters'",
                "vertrouwelijk gesprek lekt uit, schrijft de krant",
            ),
        ),
        MarkingDetector(
            name="secrecy",
            pattern=re.compile(
                r"\b(?:nog\s(?:strikt\s)?(?:vertrouwelijk|geheim)|(?:onder|under)\s(?:nda|embargo)|(?:signed|getekende?|onder\seen|broke\smy|mijn|my|the)\snda|nda\s(?:getekend|signed)|(?:signed|getekend|tekende)\s(?:an?|een|the|de)\snda|embargo(?:ed)?\s(?:tot|until|till)|geheimhoudings(?:plicht|verklaring))\b",
                re.IGNORECASE,
            ),
            confidence=Confidence.LOW,
            must_match=(
                "nog geheim en pas in maart te koop",
                "The NDA is for journalists, right?",
                "embargo tot donderdag 7 uur",
            ),
            must_not_match=("een geheim recept van oma", "embargo op Russische olie"),
        ),
    ]
