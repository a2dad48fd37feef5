"""Finds which model answers a call, and the name that the ledger keeps for it."""

from __future__ import annotations

from typing import Any

from devflow_core.ledger import ModelShare
from devflow_core.masking import mask
from devflow_core.routing import Alternate, Candidate
from devflow_core.safe_text import clean_name


def recorded_name(model: Candidate | Alternate) -> str:
    """Return the name of a model for the ledger.

    A model with a price has the name that the catalogue lists, which is kept even if a caller's key
    reads the same. Any other name is cleaned: it may be whatever a caller sent, such as a key.
    """
    if model.price is not None:
        return model.model
    return clean_name(model.model) or model.model


def serving_terms(candidate: Candidate) -> dict[str, Any]:
    """Return the fields of `AttemptStart` that only few calls need; empty for all others."""
    terms: dict[str, Any] = {}
    if candidate.alternates:
        terms["own_reserved_usd"] = candidate.own_worst_case_usd
        terms["may_serve"] = tuple(
            ModelShare(model=recorded_name(one), reserved_usd=one.worst_case_usd)
            for one in candidate.alternates
        )
    if candidate.may_be_any:
        terms["may_be_any"] = True
    if candidate.worst_case_usd is None and candidate.unpriced_reason:
        terms["unpriced_reason"] = mask(candidate.unpriced_reason)
    return terms


def served_model(candidate: Candidate, name: str | None) -> Candidate | Alternate | None:
    """Return the candidate or alternate that a reply calls by this name.

    The candidate if the reply names none; None if the name fits neither it nor an alternate.
    """
    if name is None or name in (candidate.model, candidate.slug):
        return candidate
    for one in candidate.alternates:
        if name in (one.model, one.slug):
            return one
    names = {_plain_name(name)}
    for one in (candidate, *candidate.alternates):
        if not names.isdisjoint((_plain_name(one.model), _plain_name(one.slug))):
            return one
    return None


def _plain_name(name: str) -> str:
    """Return a name without its maker and its suffix, as some providers report it."""
    return name.rpartition("/")[2].partition(":")[0]
