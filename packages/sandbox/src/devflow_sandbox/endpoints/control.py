"""`/sandbox/…`: what is not OpenRouter's but the stand-in's own."""

from __future__ import annotations

from devflow_core.errors import ConfigurationError

from devflow_sandbox.api_error import invalid
from devflow_sandbox.faults import form
from devflow_sandbox.faults.rules import Rules
from devflow_sandbox.message import Answer, Request, json_answer
from devflow_sandbox.parsed_request import Reader, parse
from devflow_sandbox.replies.json_lines import Source, load
from devflow_sandbox.replies.script import TURNS, Director
from devflow_sandbox.sandbox_state import World


def bill(world: World, request: Request) -> Answer:
    """`GET /sandbox/bill`: what each call truly cost; `?since=N` leaves out the first N."""
    since = request.parameters().get("since", "0")
    if not (since.isascii() and since.isdigit()):
        raise invalid("Invalid query parameter since: expected a whole number")
    return json_answer(world.book.bill(since=int(since)))


def load_faults(world: World, source: Source) -> None:
    """Replace the fault script; the counters begin anew.

    Raises:
        ConfigurationError: names the line.
    """
    world.faults = Rules(load(source, form.SCRIPT, "fault script"), world.setup.seed)


def load_script(world: World, source: Source) -> None:
    """Replace the script of turns; it begins at its first turn.

    Raises:
        ConfigurationError: names the line.
    """
    world.director = Director(load(source, TURNS, "script of turns"))


def faults(world: World, request: Request) -> Answer:
    """`GET /sandbox/faults`: the script in force."""
    return json_answer(world.faults.script.model_dump(mode="json", exclude_unset=True))


def set_faults(world: World, request: Request) -> Answer:
    """`PUT /sandbox/faults`."""
    try:
        load_faults(world, request.body or {})
    except ConfigurationError as error:
        raise invalid(error.message) from error
    return json_answer({"faults": len(world.faults.script.faults)})


def faults_schema(world: World, request: Request) -> Answer:
    """`GET /sandbox/faults/schema`: the form of a fault script as a JSON schema."""
    return json_answer(form.schema())


def script(world: World, request: Request) -> Answer:
    """`GET /sandbox/script`: the script in force and how many turns are left."""
    body = world.director.script.model_dump(mode="json", exclude_unset=True)
    return json_answer({**body, "remaining": world.director.remaining})


def set_script(world: World, request: Request) -> Answer:
    """`PUT /sandbox/script`."""
    try:
        load_script(world, request.body or {})
    except ConfigurationError as error:
        raise invalid(error.message) from error
    return json_answer({"turns": world.director.remaining})


def clock(world: World, request: Request) -> Answer:
    """`GET /sandbox/clock`."""
    return json_answer({"now_s": world.now_s(), "ahead_s": world.ahead_s})


def set_clock(world: World, request: Request) -> Answer:
    """`PUT /sandbox/clock` with `{"advance_s": 300}`: caches expire, limits renew."""
    seconds = Reader(parse(request.body)).number("advance_s", 0, 10**9)
    world.ahead_s += seconds or 0.0
    return clock(world, request)
