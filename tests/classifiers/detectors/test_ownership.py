"""Whose a number seems to be: a complaining customer's own is no leak by the organisation."""

import pytest

from classifiers.base import Confidence
from classifiers.detectors import default_detectors, find_all

IBAN, BSN, CARD, MAIL, PHONE = (
    "NL79VEEN0967322618",
    "872455725",
    "4539148803436467",
    "t.brandsma@teasel.example",
    "06-12345678",
)
DETECTORS = default_detectors()

OWN = [
    f"@klantenhulp mijn IBAN is {IBAN}, waar blijft mijn geld?",
    f"Voor de vijfde keer: {IBAN}. Maak het nou eens over.",
    f"stort het terug op m'n rekening {IBAN} aub",
    f"ik wacht al 3 weken op terugbetaling, rekeningnummer {IBAN}",
    f"Nog steeds geen refund ontvangen op {IBAN} !!",
    f"Kunnen jullie het overmaken naar {IBAN}? Ik ben het zat",
    f"Bestelling 48812, graag terugstorten op {IBAN}",
    f"Mijn BSN {BSN} staat verkeerd in jullie systeem",
    f"hoi, ik heet Lotte, bsn {BSN}, wanneer krijg ik antwoord",
    f"BSN {BSN}, dat ben ik. En toch zeggen ze dat ik niet besta",
    f"klantnummer 88213, IBAN {IBAN}, al drie keer gemaild",
    f"hierbij mijn gegevens: {IBAN}, Elzenkade 31",
    f"Ons bedrijf wacht op betaling, ons IBAN: {IBAN}",
    f"heb dit nr al 4x doorgegeven: {IBAN}",
    f"jullie hebben van mijn rekening {IBAN} twee keer afgeschreven",
    f"Er is dubbel afgeschreven van {IBAN}, regel dit voor me",
    f"@webcare rekeningnr {IBAN} tnv mezelf, stuur het geld terug",
    f"my account number is {IBAN} and I still have no refund",
    f"For the third time: {IBAN}. Please pay me back",
    f"please refund me to {IBAN}, order 55123",
    f"I'm still waiting, pay it into {IBAN}",
    f"You charged my card {CARD} twice!",
    f"card {CARD} is mine and you blocked it, why?",
    f"I gave you my details 4 times already, {IBAN}",
    f"can you send the money back to {IBAN}? I cancelled last week",
    f"our club account {IBAN} was debited twice by you",
    f"reach me on {PHONE} please, nobody calls back",
    f"bel me op {PHONE}, ik heb het al 4 keer gevraagd",
    f"mail me: {MAIL}",
    f"je kunt me bereiken op {PHONE}",
]

PUBLIC = [
    f"Doneer op {IBAN} t.n.v. Stichting Voedselbank",
    f"Steun de actie! {IBAN}",
    f"donate to the food bank: {IBAN}",
    f"giften welkom op {IBAN}",
    f"Contributie 2026: €40 op {IBAN} van de club",
    f"Bel onze klantenservice: {PHONE}",
    f"onze helpdesk is bereikbaar op {PHONE}",
    f"Meer weten? Bel {PHONE} of kijk op de site",
    f"For bookings call {PHONE}",
    f"Aanmelden kan via {MAIL}",
    f"Voor vragen: {MAIL}",
    f"solliciteer nu via {MAIL}",
    f"RSVP to {MAIL}",
    f"Reserveren: {PHONE}",
    "Ons kantoor: Keizersgracht 123, Amsterdam",
    "Onze winkel is verhuisd naar Elzenkade 31",
]

OTHER = [
    f"mw. T. Brandsma, BSN {BSN}, Elzenkade 31",
    f"kreeg de polis van iemand anders: {IBAN}",
    f"In de bijlage stond de rekening van mevrouw Pas: {IBAN}",
    f"patiënt in kamer 4, bsn {BSN}, wil niet eten",
    f"die ene klant die altijd zeurt heeft {IBAN}",
    f"Collega's loonstrook: {IBAN}, € 2.310 netto",
    f"rij 12: J. de Roo, {IBAN}, achterstand 3 maanden",
    f"Ik kreeg per ongeluk de brief van mijn buurman, {IBAN} staat er gewoon op",
    f"haar IBAN {IBAN} staat nu in de groepsapp",
    f"de huurder op nr 6 betaalt nooit, {IBAN}",
    f"meneer El Amrani, bsn {BSN}, had zijn insuline niet gekregen",
    f"cliënt J.V., geb. 14-03-1998, BSN {BSN}",
    f"zijn kaart {CARD} hebben we gewoon overgeschreven",
    f"personeelslijst: Brandsma {BSN} bsn",
    f"leerling 3B, BSN {BSN}",
    f"gast in 114, card {CARD} exp 04/27",
    f"got somebody else's statement in my app: {IBAN}",
    f"Mrs Adeyemi's account {IBAN} is 3 months behind",
    f"another customer's details show up when I log in: {IBAN}",
    f"the guest in 210 left his card {CARD} lol",
    f"our patient in bay 4, citizen service number {BSN}",
    f"row 41: Hughes, {IBAN}, dismissed",
    f"her account is {IBAN}, I process these all day",
    f"colleague's payslip on the printer: {IBAN}",
    f"this tenant {IBAN} never pays",
]


def sure(text):
    kinds = {"address", "iban", "bsn", "payment-card", "email", "phone", "rijksregisternummer"}
    return [
        f.detector
        for f in find_all(DETECTORS, text)
        if f.detector in kinds and f.confidence is not Confidence.LOW
    ]


@pytest.mark.parametrize("text", OWN)
def test_what_a_customer_gives_of_their_own_is_no_evidence(text):
    assert sure(text) == []


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_meant_for_the_public_is_no_evidence(text):
    assert sure(text) == []


@pytest.mark.parametrize("text", OTHER)
def test_what_belongs_to_somebody_else_is_evidence(text):
    assert sure(text)
