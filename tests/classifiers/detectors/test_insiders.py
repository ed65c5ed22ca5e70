"""What only insiders show: markings, code names, hosts, shares and paths, beside what looks alike."""

import pytest

from classifiers.detectors import default_detectors, find_all

DETECTORS = default_detectors(["zilvermeeuw", '"project Otter"', "operatie NEAR/3 kiewiet"])
MARKINGS = frozenset({"tlp", "distribution", "classification", "secrecy"})
WATCH = frozenset({"watch-word"})
PLACES = frozenset(
    {"private-address", "ip-address", "internal-host", "file-share", "file-path", "intranet-link"}
)

MARKED = [
    "TLP:RED staat erboven en toch in de appgroep",
    "TLP:AMBER+STRICT, maar goed",
    "document is tlp amber",
    "[TLP RED] incident 4",
    "Vertrouwelijk: notulen MT 3 november",
    "STRIKT VERTROUWELIJK op elke pagina",
    "VERTROUWELIJK - niet verspreiden",
    "het memo is strikt vertrouwelijk, lees ik net",
    "'bedrijfsvertrouwelijk' in de voettekst",
    "Bedrijfsgeheim, blz 3",
    "Alleen voor intern gebruik staat op de slide",
    "uitsluitend intern gebruik",
    "INTERN - NIET VERSPREIDEN",
    "niet extern delen aub",
    "Niet doorsturen!!! maar hier is hij",
    "niet delen met derden stond er",
    "nog niet naar buiten brengen",
    "niet voor publicatie bestemd",
    "niet bestemd voor derden",
    "onder embargo tot donderdag",
    "embargo tot 7 uur morgen",
    "ik heb een NDA getekend, maar",
    "valt onder de geheimhoudingsplicht",
    "concept, niet citeren",
    "alleen voor ogen van de directie",
    "CONFIDENTIAL: store closures 2026",
    "Strictly confidential, page 1 of 9",
    "it says Company Confidential at the bottom",
    "Private & Confidential on the cover",
    "COMMERCIAL IN CONFIDENCE",
    "INTERNAL USE ONLY slide 14",
    "for internal use only, haha",
    "for internal distribution only",
    "not for distribution",
    "do not distribute, draft 3",
    "do not forward outside the team",
    "not for external distribution",
    "eyes only: board",
    "under NDA so you did not hear it from me",
    "embargoed until Thursday 7am",
    "keep this internal please",
    "please do not share externally",
    "no external mention of the outage",
    "OFFICIAL-SENSITIVE on every page",
]
UNMARKED = [
    "TLP:GREEN bulletin over phishing",
    "TLP:CLEAR advies van het NCSC",
    "TLP: wat betekenen de kleuren?",
    "vertrouwelijk gesprek lekt uit, schrijft de krant",
    "wij gaan vertrouwelijk met je gegevens om",
    "de vertrouwenspersoon was er niet",
    "een geheim recept van oma",
    "het geheim van een goede soep",
    "geheime dienst in het nieuws",
    "staatsgeheimen in een badkamer, lees ik",
    "intern bij de klantenservice weet niemand iets",
    "interne geneeskunde, afdeling 4",
    "ik loop stage bij de interne dienst",
    "niet te geloven dit",
    "niet doorspoelen aub",
    "je moet je pincode niet delen",
    "deel dit vooral niet niet",
    "embargo op Russische olie",
    "handelsembargo tegen dat land",
    "de NDA-partij in India won",
    "geheimhouding is overschat",
    "I'm confident about tonight",
    "confidentiality is important to them",
    "my confidential secretary days",
    "they handle confidential waste in Leeds",
    "internal bleeding after the match",
    "the internal combustion engine is dead",
    "we only use internal links on the site",
    "external use only, says the ointment",
    "I do not share your opinion",
    "do not forward chain mails to grandma",
    "for your eyes only is a great bond film",
    "distribution of vaccines starts Monday",
    "not for me, thanks",
    "red and amber lights on the A12",
    "the secret of comedy is timing",
    "top secret recipe by my nan",
    "official launch, sensitive teeth toothpaste",
    "private gardens, confidential helpline 0800",
    "NDA results are out, exam hall full",
]
NAMED = [
    "Zilvermeeuw gaat in maart live",
    "#zilvermeeuw komt eraan",
    "ZILVERMEEUW!!",
    "wie weet er van project Otter?",
    "Project otter is uitgesteld",
    "operatie rode kiewiet begint maandag",
    "z\u200bilvermeeuw lekt",
    "z\u0456lvermeeuw lekt",
    "Z i l v e r m e e u w dus",
]
UNNAMED = [
    "een zilveren meeuw op het strand",
    "meeuw met zilver",
    "het project over de otter",
    "een otter in het project",
    "operatie geslaagd, en daarna zag ik in de tuin eindelijk een kiewiet",
    "zilvermeeuwen",
]
INSIDE = [
    r"staat gewoon op \\fs01\HR\Salarissen 2026.xlsx",
    r"kijk in \\nas-02.teasel.local\directie$\plannen",
    r"open \\10.4.2.9\scans\paspoorten",
    "//fs01/hr/salarissen staat open voor iedereen",
    "smb://fs01/hr/salarissen",
    r"G:\Directie\Reorganisatie\plan.docx",
    r"H:\Klanten\export 2026.csv staat open",
    "C:/Users/jvos/Desktop/klanten.xlsx",
    r"C:\Users\jvos\Documents\bod.docx",
    "/home/svc_orders/.ssh/id_rsa",
    "/srv/klanten/export/2026.csv",
    "/var/www/html/backup/db.sql",
    "/mnt/share/hr/lonen.xlsx",
    "/etc/teasel/secrets.env ligt op straat",
    "/opt/kassa/config/prod.yml",
    "file:///G:/Directie/plan.docx",
    "https://intranet.teasel.nl/hr/reorganisatie",
    "https://wiki.intern.teasel.nl/pages/viewpage.action?pageId=88213",
    "https://confluence.teasel.nl/display/HR/Ontslagronde",
    "https://teasel.atlassian.net/wiki/spaces/MT/pages/88213/Plan",
    "https://teasel.atlassian.net/browse/SEC-412",
    "https://jira.teasel.nl/browse/OPS-991",
    "https://teasel.sharepoint.com/sites/directie/Gedeelde%20documenten/plan.docx",
    "https://teasel-my.sharepoint.com/:x:/g/personal/jvos/Eabc",
    "teasel.sharepoint.com/sites/HR staat open",
    "https://gitlab.intern.teasel.nl/kassa/pin",
    "http://jenkins.teasel.local:8080/job/deploy",
    "kijk op wiki.teasel.local:8443",
    "de server heet db.teasel.corp",
    "exchange01.teasel.lan",
    "sap.internal.teasel.com is down",
    "core-fw-02 is teruggezet",
    "pay-jmp-03 heeft geen admin meer",
    "srv-sql-01 draait nog windows 2008",
    "prod-db-3 heeft geen wachtwoord",
    "10.40.8.12 is de kassaserver",
    "heel 10.40.8.0/21 lag plat",
    "172.16.4.19 via een printer",
    "192.168.44.12 op het kantoornet",
    "elastic open op 203.0.113.58:9200",
    "database op [2001:db8:85a3::8a2e:370]",
]
OUTSIDE = [
    "kijk op www.teasel.nl/aanbieding",
    "https://www.teasel.nl/nieuws/2025/11/kwartaalcijfers",
    "https://github.com/teasel/docs",
    "https://support.atlassian.com/jira/",
    "https://www.atlassian.com/software/confluence",
    "https://www.microsoft.com/nl-nl/sharepoint",
    "sharepoint is traag vandaag",
    "ons intranet is weer eens down",
    "jira is the worst",
    "lokaal.teasel.nl is een webwinkel",
    "lees international.nl eens",
    "op interncompany.nl staat het",
    "mijn mail a.b@teasel.local",
    "app-update van 3 mei",
    "covid-19 en corona-app 2",
    "de A4-12 is dicht",
    "24/7 open",
    "en/of/maar",
    "1/2/3 go",
    "09/11/2025",
    "km/u/dag",
    "/home",
    "C: is vol",
    "D:\\ haha",
    "score 3:2",
    r"\\o/ hoera",
    r"¯\_(ツ)_/¯",
    r"regel 1\\nregel 2",
    "// dit is commentaar",
    "https://teasel.example//x",
    "versie 10.2.3 is uit",
    "1.2.3.4.5 hoedje van papier",
    "om 12:30:45 precies",
    "std::vector",
    "pay-per-view",
    "web-shop 24",
    "mail-order-12 stuks",
    "db-9",
    "r/thenetherlands en u/jan",
    "/s natuurlijk",
    "iOS 17.4.1.2",
]


def shown(text, detectors):
    return [f.detector for f in find_all(DETECTORS, text) if f.detector in detectors]


@pytest.mark.parametrize("text", MARKED)
def test_a_marking_is_seen(text):
    assert shown(text, MARKINGS)


@pytest.mark.parametrize("text", UNMARKED)
def test_talk_of_secrecy_is_no_marking(text):
    assert shown(text, MARKINGS) == []


@pytest.mark.parametrize("text", NAMED)
def test_a_code_name_is_seen(text):
    assert shown(text, WATCH)


@pytest.mark.parametrize("text", UNNAMED)
def test_words_of_a_code_name_apart_are_none(text):
    assert shown(text, WATCH) == []


@pytest.mark.parametrize("text", INSIDE)
def test_a_place_inside_the_network_is_seen(text):
    assert shown(text, PLACES)


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_place_outside_is_none(text):
    assert shown(text, PLACES) == []
