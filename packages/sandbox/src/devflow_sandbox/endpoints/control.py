"""`/sandbox/…`: what is not OpenRouter's but the stand-in's own."""

from __future__ import annotations

from devflow_sandbox.answer import Answer, Request, json_answer
from devflow_sandbox.world import World


def bill(world: World, request: Request) -> Answer:
    """`GET /sandbox/bill`: what each call truly cost."""
    return json_answer(world.book.bill())
