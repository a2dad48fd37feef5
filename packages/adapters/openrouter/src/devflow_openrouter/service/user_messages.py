"""Holds the sentences that an application may show to its users, in three languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Language = Literal["en", "pl", "it"]
"""English, Polish or Italian."""
LANGUAGES: tuple[Language, ...] = get_args(Language)

Sentence = Mapping[Language, str]
"""One sentence in every language."""

CONFIG: Sentence = {
    "en": "The assistant is not set up correctly. Please contact the administrator.",
    "pl": "Asystent nie jest poprawnie skonfigurowany. Skontaktuj się z administratorem.",
    "it": "L'assistente non è configurato correttamente. Contatta l'amministratore.",
}
SCHEMA: Sentence = {
    "en": "The answer did not have the expected form. Please try again.",
    "pl": "Odpowiedź nie miała oczekiwanej formy. Spróbuj ponownie.",
    "it": "La risposta non aveva la forma prevista. Riprova.",
}
TIMEOUT: Sentence = {
    "en": "The assistant took too long to answer. Please try again.",
    "pl": "Asystent zbyt długo nie odpowiadał. Spróbuj ponownie.",
    "it": "L'assistente ha impiegato troppo tempo per rispondere. Riprova.",
}
BUSY: Sentence = {
    "en": "The assistant is very busy at the moment. Please try again shortly.",
    "pl": "Asystent jest w tej chwili bardzo obciążony. Spróbuj ponownie za chwilę.",
    "it": "L'assistente è molto occupato in questo momento. Riprova tra poco.",
}
ACCESS: Sentence = {
    "en": "The assistant has no access at the moment. Please contact the administrator.",
    "pl": "Asystent nie ma w tej chwili dostępu. Skontaktuj się z administratorem.",
    "it": "L'assistente al momento non ha accesso. Contatta l'amministratore.",
}
CREDIT: Sentence = {
    "en": "The assistant's budget is used up. Please contact the administrator.",
    "pl": "Budżet asystenta został wyczerpany. Skontaktuj się z administratorem.",
    "it": "Il budget dell'assistente è esaurito. Contatta l'amministratore.",
}
REJECTED: Sentence = {
    "en": "This request could not be processed. Please change it and try again.",
    "pl": "Nie udało się przetworzyć tego zapytania. Zmień je i spróbuj ponownie.",
    "it": "Non è stato possibile elaborare questa richiesta. Modificala e riprova.",
}
TOO_LONG: Sentence = {
    "en": "This request is too long. Please shorten it and try again.",
    "pl": "To zapytanie jest zbyt długie. Skróć je i spróbuj ponownie.",
    "it": "Questa richiesta è troppo lunga. Accorciala e riprova.",
}
UNAVAILABLE: Sentence = {
    "en": "The assistant is not available at the moment. Please try again later.",
    "pl": "Asystent jest chwilowo niedostępny. Spróbuj ponownie później.",
    "it": "L'assistente al momento non è disponibile. Riprova più tardi.",
}
GUARDED: Sentence = {
    "en": "This message looks like an attempt to change the assistant's instructions. "
    "Please rephrase it.",
    "pl": "Ta wiadomość wygląda na próbę zmiany instrukcji asystenta. Sformułuj ją inaczej.",
    "it": "Questo messaggio sembra un tentativo di cambiare le istruzioni dell'assistente. "
    "Riformulalo.",
}


def find_language(wanted: str) -> Language:
    """Return the first language of an `Accept-Language` header or tag that we have; else English.

    Quality values are ignored: browsers list the preferred language first.
    """
    for one in wanted.split(","):
        name = one.partition(";")[0].strip().lower().partition("-")[0]
        if name in LANGUAGES:
            return name
    return "en"
