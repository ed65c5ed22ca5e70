"""Invented papers of an invented supermarket, and what fills a register."""

from __future__ import annotations

import random
from dataclasses import replace

from classifiers.base import LeakCategory
from classifiers.register.documents import document
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.index import Index
from classifiers.register.items import Item

FINGERPRINTS = Fingerprints(b"a key for tests only, 32 bytes..")

MEMO = """
Aan alle filiaalhoofden. In week negen ligt onder de naam Zilvermeeuw een hummus met gerookte paprika in
het koelvak, in een bakje van 180 gram voor een adviesprijs van € 2,49. De marge daarop is 38 procent en
de leverancier, een kleine producent uit Oss, mag het tot die tijd nergens anders aanbieden. Vertel er nog
niets over aan de kassamedewerkers: de campagne met de boswachter begint pas op 12 maart, en de vorige keer
stond het wervingsfilmpje twee dagen te vroeg op internet omdat iemand het doorstuurde. Wie vragen heeft over
de schapindeling belt met Formulebeheer. De oude bakjes van het huismerk gaan met dertig procent korting weg
en worden daarna niet meer bijbesteld, ook niet in de winkels aan de kust. Denk bij de bestelling aan de
langere levertijd, want de fabriek draait in februari maar drie dagen in de week vanwege het onderhoud aan
de vulmachine. De proefwinkels in Deventer en Roosendaal verkochten in vier weken ruim elfduizend stuks.
"""

MINUTES = """
Minutes of the finance committee. Revenue of the third quarter closed at 41.7 million euros, six percent under
the plan that the board approved in spring, mostly because the new distribution centre opened nine weeks late.
The treasurer expects that the covenant with the lenders will be breached in December unless the sale of the
northern stores is signed before Christmas. Two buyers remain at the table and one of them asked for a lower
price after its engineers visited the cold store in Leeuwarden and found asbestos under the loading docks. The
committee agreed to keep this from the works council until the letter of intent is ready, and asked the chief
executive to prepare a holding statement for the press. Bonuses of the leadership team are postponed to April.
"""

SENTENCES = """
Vanochtend stond er een lange rij bij de bakker op het plein en iedereen had zin in koffie met iets warms.
Mijn buurvrouw heeft haar fiets teruggevonden achter het station, met een lekke band maar verder heel.
We gaan dit jaar weer naar de camping aan het meer, de kinderen praten al weken over niets anders dan vissen.
The bus was twenty minutes late again and nobody at the stop seemed surprised about it, which says enough.
I finally finished that book about the lighthouse keepers and the ending made me cry on the train to work.
Great service at the counter today, the lady even carried the boxes to my car although it was pouring outside.
Weet iemand of de winkel op tweede paasdag open is, ik heb nog eieren en een bos tulpen nodig voor mijn ma.
De app doet het niet meer sinds de laatste update, ik kan mijn zegels niet zien en ook niet meer inloggen.
""".strip().splitlines()


SYLLABLES = [
    f"{start}{end}" for start in ("b", "dr", "gn", "k", "pl", "sk", "v", "z") for end in "aeiou"
]


def item(text: str, label: str = "doc", **options: bool) -> Item:
    """A registered document."""
    return document(text, label, LeakCategory.PRODUCT, FINGERPRINTS, **options)


def index(*items: Item) -> Index:
    """A register with a few items, each of a family of its own unless it has one."""
    return Index(
        [each if each.family else replace(each, family=n + 1000) for n, each in enumerate(items)],
        FINGERPRINTS,
    )


def invented(chance: random.Random, words: int) -> str:
    """A text of words that no language has."""
    return " ".join(
        "".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))) for _ in range(words)
    )
