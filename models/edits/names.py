"""Names of people and places, and terms of nationality, religion and orientation, exchanged for others of their kind.

Most answers should not depend on them (Ribeiro et al., ACL 2020, section 2.2). The lists are short, of many
origins, and leave out names that are spelt like common words (`Will`, `Rose`, `Turkey`, `Polish`).
"""

import random
import re
from collections.abc import Mapping, Sequence

from models.edits.family import Candidates, Family, fits_article, make_candidates, match_case, replace_all
from models.words import Span

KINDS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(words.split())
    for kind, words in {
        "woman": """
            Aisha Amina Ana Anna Carmen Catherine Chiara Chinwe Deborah Elena Emily Fatima Fatou Guadalupe Hannah
            Ingrid Isabella Jasmin Jessica Kavita Keiko Laila Lakshmi Latoya Linh Lucia Margaret Mariam Mei Michelle
            Mohini Nadia Natasha Ngozi Noor Olga Paloma Priya Rebecca Rosa Sakura Samantha Sarah Shanice Sofia Susan
            Tatiana Thandiwe Xiomara Yasmin Yuki Zainab
        """,
        "man": """
            Abdul Ahmed Alejandro Alexander Antonio Arjun Benjamin Boris Carlos Chidi Christopher Daniel Darnell
            Diego Dmitri Enrique Farid Giovanni Hamza Hans Hiroshi Ibrahim Igor Ivan Jamal James Jorge Joseph Kenji
            Kevin Kwame Lars Luca Matthew Michael Miguel Minh Mohammed Nikolai Olu Omar Pablo Pierre Rajesh Samuel
            Sanjay Sergei Stefan Tariq Thabo Thomas Tyrone William Yusuf
        """,
        "surname": """
            Abdullah Adeyemi Andersson Banerjee Cohen Dubois Fernandez Fischer Garcia Gonzalez Hernandez Hussein
            Ivanov Jackson Jensen Johnson Kapoor Kaur Kowalski Kuznetsov Lopez Mbeki Mensah Moreau Moretti Mueller
            Murphy Nakamura Nguyen Novak Okafor Okonkwo Papadopoulos Patel Petrov Rahman Ramirez Robinson Rossi Sato
            Schmidt Sharma Silva Suzuki Takahashi Thompson Tran Williams Yamamoto Yilmaz Zhang
        """,
        "city": """
            Amsterdam Athens Baghdad Bangkok Barcelona Beijing Berlin Boston Brisbane Cairo Chicago Dallas Delhi
            Denver Dhaka Dublin Hanoi Helsinki Istanbul Jakarta Johannesburg Karachi Kyiv Lagos Lahore Lisbon London
            Madrid Manila Melbourne Milan Montreal Moscow Mumbai Munich Nairobi Osaka Oslo Paris Prague Rome
            Santiago Seattle Seoul Shanghai Stockholm Sydney Tehran Tokyo Toronto Vienna Warsaw
        """,
        "country": """
            Argentina Australia Austria Bangladesh Belgium Brazil Cambodia Cameroon Canada Colombia Cuba Denmark
            Ecuador Egypt Ethiopia Finland France Germany Ghana Hungary Iceland India Indonesia Iran Iraq Ireland
            Italy Jamaica Japan Kenya Malaysia Mexico Morocco Nepal Nigeria Norway Pakistan Peru Portugal Russia
            Senegal Spain Sweden Switzerland Syria Thailand Tunisia Uganda Ukraine Venezuela Vietnam Zimbabwe
        """,
        "nationality": """
            American Argentinian Australian Austrian Belgian Brazilian British Cambodian Canadian Chinese Colombian
            Cuban Danish Egyptian Ethiopian French German Ghanaian Greek Hungarian Indian Indonesian Iranian Iraqi
            Irish Italian Jamaican Japanese Kenyan Korean Mexican Moroccan Nepalese Nigerian Norwegian Pakistani
            Peruvian Portuguese Russian Senegalese Somali Spanish Swedish Syrian Thai Turkish Ukrainian Vietnamese
        """,
        "religion": "Buddhist Catholic Christian Hindu Jewish Muslim Sikh",
        "believers": "Buddhists Catholics Christians Hindus Jews Muslims Sikhs",
        "orientation": "bisexual gay heterosexual homosexual lesbian",
    }.items()
}  # fmt: skip
"""The words of each kind. Surnames and religions are of one form each, so that a sentence stays as it is."""

IDENTITY_KINDS = ("nationality", "religion", "believers", "orientation")
"""The kinds that are terms of what people are, not names."""

_WORD = re.compile(r"[^\W\d_]+")
_KIND_OF = {word.lower(): kind for kind, words in KINDS.items() for word in words}
_LOWER_CASE = frozenset(word for words in KINDS.values() for word in words if word.islower())


def _spans(text: str) -> tuple[Span, ...]:
    """The listed words of a text; names only where they have a capital, unless the text has none at all."""
    any_case = text == text.lower()
    return tuple(
        Span(*word.span())
        for word in _WORD.finditer(text)
        if word[0].lower() in _KIND_OF and (any_case or word[0][0].isupper() or word[0] in _LOWER_CASE)
    )


def _candidates(text: str, span: Span) -> Candidates:
    written = text[slice(*span)]
    others = (word for word in KINDS[_KIND_OF[written.lower()]] if fits_article(word, text, span))
    return make_candidates((_written_like(word, written) for word in others), written)


def _written_like(word: str, like: str) -> str:
    return word.lower() if like.islower() else match_case(word, like)


NAMES = Family(name="names", spans=_spans, candidates=_candidates, keeps_shared=True)
"""A listed name or term exchanged for another of its kind, in its case, where `a` or `an` before it still fits."""


def exchange_names(texts: Sequence[str], share: float, draw: random.Random) -> list[str]:
    """The texts with this share of their listed words exchanged, at least one, each alike wherever it stands in them.

    It is the same word in capitals and in small letters, but not in another form: `Catholics` stays where `Catholic`
    is exchanged, and `French` where `France` is. No word is exchanged for one that is there already, so that those that
    differed still do.
    """
    words = sorted({text[slice(*span)].lower() for text in texts for span in _spans(text)})
    chosen = draw.sample(words, min(len(words), max(1, round(share * len(words)))))
    places: dict[str, list[tuple[int, Span]]] = {}
    for place, text in enumerate(texts):
        for found in _WORD.finditer(text):
            places.setdefault(found[0].lower(), []).append((place, Span(*found.span())))
    taken = set(places)
    exchanged: list[list[tuple[Span, str]]] = [[] for _ in texts]
    for word in chosen:
        fitting = [
            other
            for other in KINDS[_KIND_OF[word]]
            if other.lower() not in taken
            and all(fits_article(other, texts[place], span) for place, span in places[word])
        ]
        if not fitting:
            continue
        other = draw.choice(fitting)
        taken.add(other.lower())
        for place, span in places[word]:
            exchanged[place].append((span, _written_like(other, texts[place][slice(*span)])))
    return [replace_all(text, changes) for text, changes in zip(texts, exchanged, strict=True)]
