"""Checks that all parts of a request reach the model, for the most part with code words.

Each word stands where a gateway may lose it, and one more stands in the question itself. A model
that repeats only the question's word was not given the others; one that repeats none proves
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from devflow_cli.conformance.probe import Probe, make_word
from devflow_cli.conformance.speech import Inquiry
from devflow_cli.conformance.terms import ClauseBroken, ClauseNotShown, require

QUESTION = (
    "This is a test of a connection; code words are not secret. The code word of the question is"
    " {word}. List every code word you were given in this conversation, wherever it stands,"
    " separated by spaces, and nothing else."
)
CLEARER = (
    "The code word of the question is {word}. Look at all of the text above, at instructions and"
    " at results of tools too: code words look like CEDAR-123. Repeat every code word, all of them,"
    " in one line. They are harmless and meant to be repeated."
)
READ_BOTH = ("read_left", "read_right")
# characters of one to four bytes, and some that are joined from several
_ECHO = "Zürich, 東京, Київ: 🙂🚀🧑‍🚀🇨🇭 naïve café ☕ 数学 Ωμέγα 🧡🧡"
# as OpenAI's strict mode demands: every property is required, and no other is allowed
_CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}


async def repeat_words(probe: Probe, inquiry: Inquiry, told: Mapping[str, str], why: str) -> str:
    """Have the model repeat code words, and return the detail of the finding.

    The question is put a second time, more clearly, if a word is missing from the reply.

    Args:
        probe: asks the model.
        inquiry: contains the words; its question is replaced.
        told: the words, by the place where each stands, as a message names it.
        why: what breaks for clients if a word is lost.

    Raises:
        ClauseBroken: the model repeats some of the words, or the question's alone, but not all; or
            see `Probe.ask`.
        ClauseNotShown: it repeats none, not even the question's; or see `Probe.ask`.
    """
    missing = list(told)
    is_heard = False
    for question in (QUESTION, CLEARER):
        control = make_word()
        asked = replace(inquiry, question=question.format(word=control))
        text = (await probe.ask(asked)).text
        is_heard = is_heard or control in text
        missing = [place for place, word in told.items() if word not in text]
        if not missing:
            return f"the model repeats {len(told)} of {len(told)} words"
    lost = " and ".join(missing)
    if is_heard or len(missing) < len(told):
        raise ClauseBroken(f"the word in {lost} does not reach the model: {why}")
    raise ClauseNotShown("the model repeats no code word at all; try --model with another")


async def system_prompt(probe: Probe) -> str:
    """The text of the system prompt reaches the model."""
    word = make_word()
    text = f"You are a brief assistant. The code word of the system is {word}."
    inquiry = Inquiry(question="", system=text)
    why = "the client's instructions are lost"
    return await repeat_words(probe, inquiry, {"the system prompt": word}, why)


async def late_system(probe: Probe) -> str:
    """The text of a system or developer message inside the conversation reaches the model."""
    word = make_word()
    text = f"The working directory is /work. The code word of the directory is {word}."
    inquiry = Inquiry(question="", late_system=text)
    why = "the client tells its directory, date and changed files there"
    return await repeat_words(probe, inquiry, {"the late system message": word}, why)


async def tool_results(probe: Probe) -> str:
    """The results of two parallel tool calls both reach the model."""
    left, right = make_word(), make_word()
    results = (
        ("call_of_doctor_1", f"The code word of read_left is {left}."),
        ("call_of_doctor_2", f"The code word of read_right is {right}."),
    )
    inquiry = Inquiry(question="", tools=READ_BOTH, results=results)
    told = {"the first result": left, "the second result": right}
    return await repeat_words(probe, inquiry, told, "agents work on with half of what they read")


async def image(probe: Probe) -> str:
    """A picture reaches the model: the prompt is longer by its tokens, or its colour is named."""
    question = "Which colour is the picture? Reply with one word."
    without = await probe.ask(Inquiry(question=question, max_tokens=256))
    with_it = await probe.ask(Inquiry(question=question, max_tokens=256, has_picture=True))
    more = with_it.input_tokens - without.input_tokens
    # the picture takes at least 85 tokens, but the count may be an estimate
    if more >= 40:
        return f"{more} tokens more, and the answer is {with_it.text.strip()[:20]!r}"
    if not without.input_tokens or not with_it.input_tokens:
        raise ClauseNotShown("the usage says no input tokens, so nothing shows it")
    if "red" in with_it.text.lower() and "red" not in without.text.lower():
        return "the model names its colour"
    raise ClauseBroken("with a picture the prompt has as many tokens as without: it is left out")


async def utf8(probe: Probe) -> str:
    """Text in all scripts comes back whole, even where a stream is cut inside a character."""
    question = f"Reply with exactly: {_ECHO}"
    seen: list[str] = []
    for stream in (True, False):
        found = await probe.send(Inquiry(question=question, stream=stream))
        try:
            found.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ClauseBroken(f"the bytes are not UTF-8 at {error.start}: clients break") from None
        text = probe.understand(found).text
        require("\ufffd" not in text, "characters are broken (U+FFFD): cut text is decoded alone")
        seen.append(text)
    if not all(_ECHO in text for text in seen):
        raise ClauseNotShown("the model does not repeat the text as it is; nothing in it is broken")
    return f"{len(_ECHO.encode())} bytes, streamed and whole"


async def max_tokens(probe: Probe) -> str:
    """The limit on tokens holds, and the reply says that it ended there."""
    question = "Count from 1 to 300, one number per line, without leaving any out."
    said = await probe.ask(Inquiry(question=question, max_tokens=32))
    # some room above 32, since vendors count differently
    require(
        said.output_tokens <= 40 and len(said.text) <= 400,
        f"with a limit of 32 tokens the reply has {said.output_tokens}: the limit is not passed on",
    )
    if said.ending == "end":
        raise ClauseNotShown("the model stopped by itself before the limit")
    require(
        said.ending == "length",
        "a reply cut by the limit does not say so: clients take it as whole",
    )
    return f"{said.output_tokens} tokens, and it says so"


async def structured(probe: Probe) -> str:
    """A reply fits the JSON schema that the request demands."""
    inquiry = Inquiry(question="Describe Paris in one short sentence.", schema=_CITY)
    found = await probe.try_to_send(inquiry)
    # the statuses with which vendors and routers refuse what a model cannot do
    if found.status in (400, 404, 422):
        raise ClauseNotShown(f"the model cannot do it here: {found.excerpt}")
    require(found.status == 200, f"the answer has status {found.status}: {found.excerpt}")
    text = probe.understand(found).text
    try:
        value = json.loads(text)
        fits = isinstance(value["city"], str) and isinstance(value["inhabitants"], int)
    except (ValueError, KeyError, TypeError):
        fits = False
    require(fits, f"the reply does not fit the schema, which is left out perhaps: {text[:80]!r}")
    return "it fits"
