"""Whose an identifier seems to be: the writer's own, somebody else's, or meant for the public.

A customer who shouts their own IBAN at a help desk leaks nothing of the organisation; the same
number behind ``mevrouw T. Brandsma`` does. Words near the value decide, and what is nearest wins.
"""

from __future__ import annotations

import re
from enum import StrEnum

from classifiers.detectors.base import words


class Owner(StrEnum):
    """Whose a value seems to be."""

    OWN = "own"
    PUBLIC = "public"
    """The organisation's published account or number: donations, customer service."""
    OTHER = "other"
    UNKNOWN = "unknown"


_OWN_BEFORE = re.compile(
    r"""(?:\b(?:mijn|mijne|mn|m'n|m’n|mij|my|mine|ons|onze|our|eigen)\s(?:[\w-]{1,20}\s){0,3}?[\w/-]{0,24}[\s:=("'-]{0,4}(?:is|nr\.?|nummer|number|:)?\s{0,2}$)""",
    re.IGNORECASE,
)
_OWN_NEAR = re.compile(
    r"""\b(?:op\smijn|naar\smijn|to\smy|into\smy|on\smy|ik\sheet|my\sname\sis|mijn\snaam\sis|
        (?:account|klant|klantnr|klantnummer|bestelling|order|ordernummer|postcode|polis(?:nummer)?|
        customer|ref(?:erence)?)\s?(?:nr\.?|no\.?|number|nummer)?[\s:#]{1,3}[\w-]{3,20}[,\s]{1,3}$)""",
    re.IGNORECASE | re.VERBOSE,
)
_SOMEBODY_ELSE = (
    "(?:van )?iemand anders",
    "(?:someone|somebody) else(?:'?s)?",
    "een ander(?:e|en|s)?",
    "anderen",
    "another",
    "other people(?:'?s)?",
    "wildvreemden?",
    "strangers?",
    "(?:verkeerde|wrong) (?:persoon|person|klant|customer|patiënt|patient)",
)
_ELSE = words(*_SOMEBODY_ELSE)
_NOT_THE_NUMBERS = re.compile(
    r"\b(?:app|scherm|screen|inbox|mailbox|mail|brievenbus|feed|tijdlijn|timeline|printer|bureau|desk|afdeling|team"
    r"|department|werk|work|ploeg|dienst|shift|winkel|shop|kantoor|office|school|buur\w*|neighbou?r\w*)\b",
    re.IGNORECASE,
)
"""``in my inbox:`` does not make what follows mine."""
_SOMEBODY = words(
    r"mw\.?",
    r"mevr\.?",
    "mevrouw",
    r"dhr\.?",
    "meneer",
    "de heer",
    "familie",
    r"fam\.?",
    "patiënte?n?",
    "patients?",
    "cliënte?n?",
    "clients?",
    "klant(?:en)?",
    "customers?",
    "collega(?:'?s)?",
    "colleagues?",
    "buur(?:man|vrouw)",
    "buren",
    "neighbou?rs?",
    "manager",
    "baas",
    "boss",
    "chef",
    *_SOMEBODY_ELSE,
    "leden",
    "leerling(?:en)?",
    "bewoners?",
    "huurders?",
    "tenants?",
    "werknemers?",
    "medewerkers?",
    "employees?",
    "personeel",
    "staff",
    "mrs?",
    "ms",
    "verzekerden?",
    "gast(?:en)?",
    "guests?",
    r"rij \d+",
    r"row \d+",
)
_PERHAPS_SOMEBODY = words(
    *("haar", "hun", "his", "her", "their", r"geb\.?", "geboren", "born", "dob", "named?"),
    *(
        "zijn (?:kaart|pas|rekening|bsn|iban|nummer|adres|telefoon)",
        "lijst",
        "\\w{3,20}lijst",
    ),
)
_PERHAPS_OWN = words(
    *("mijn", "mn", "mij", "my", "mine", "ik", "i'm", "i am", "me"),
    *("nog (?:steeds|altijd) (?:niet|geen)", "still (?:no|not|waiting)", "voor de \\w{3,8} keer"),
    *("mezelf", "ikzelf", "myself", "geld terug", "money back", "pay back", "refund", "teruggave"),
    *(
        "terug ?(?:te )?(?:storten|boeken|betalen|betaling|gestort|geboekt)",
        "doorgegeven",
        "gemaild",
    ),
    *("(?:al|already) (?:\\w{1,8} )?(?:\\d{1,2} ?)?(?:x|keer|maal|times)",),
    *("for the \\w{3,8} time", "order ?(?:nummer|number)", "bestelnummer", "betaald van", "stort"),
)
"""How people complain who give their own data: ``voor de vierde keer: …``."""
_PUBLIC = words(
    "doneer",
    "donaties?",
    "doneren",
    "donatie-?rekening",
    "gift(?:en)?",
    "steun(?:en)?",
    "collecte",
    "giro \\d+",
    "donate",
    "donations?",
    "storten mag",
    "spaart voor",
    "opgebracht",
    "goede doel(?:en)?",
    "charity",
    "ons (?:kantoor|pand|adres)",
    "onze (?:winkel|vestiging|locatie|praktijk)",
    "our (?:office|store|shop|restaurant)",
    "bezoekadres",
    "gevestigd",
    "contributie",
    "lidgeld",
    "inschrijfgeld",
    "membership",
    "solliciteer",
    "rsvp",
    "stichting",
    "foundation",
    "fundraiser",
    "crowdfunding",
    "inzamel(?:ing|actie)",
    "klantenservice",
    "webcare",
    "klantcontact",
    "customer (?:service|care|support)",
    "helpdesk",
    "help ?line",
    "bel ons",
    "bel met",
    "bel gratis",
    "bereikbaar",
    "call us",
    "contact us",
    "neem contact op",
    "reserveer",
    "reserveren",
    "aanmelden via",
    "inschrijven via",
    "info@",
    "meldpunt",
    "tip ?lijn",
    "hotline",
    "receptie",
    "balie",
    "spoedlijn",
)


def is_own(text: str, start: int) -> bool:
    """Tell whether the value at ``start`` seems to be the writer's own: ``mijn wachtwoord is …``."""
    before = text[max(0, start - 40) : start]
    if _OWN_NEAR.search(before):
        return True
    said = _OWN_BEFORE.search(before)
    return (
        said is not None
        and _NOT_THE_NUMBERS.search(said[0]) is None
        and _SOMEBODY.pattern.search(said[0]) is None
    )


def owner(text: str, start: int, end: int) -> Owner:
    """Say whose the value at ``start``..``end`` seems to be, from the words near it."""
    if _ELSE.near(text, start, end):
        return Owner.OTHER
    if is_own(text, start):
        return Owner.OWN
    if _PUBLIC.near(text, start, end):
        return Owner.PUBLIC
    if _SOMEBODY.near(text, start, end):
        return Owner.OTHER
    if _PERHAPS_OWN.near(text, start, end, before=80):
        return Owner.OWN
    return Owner.OTHER if _PERHAPS_SOMEBODY.near(text, start, end) else Owner.UNKNOWN
