from devflow_core.attribution import Attribution
from devflow_core.messages import Media, Message, Text
from devflow_core.request import ChatRequest
from devflow_routing.trackers.refused_questions import MAX_QUESTIONS, RefusedQuestions

IMAGE = Media(kind="image", media_type="image/png", base64="aGk=")


def ask(*parts: Text | Media, key: str | None = "a") -> ChatRequest:
    return ChatRequest(
        model="x/y",
        messages=(Message(role="user", parts=parts),),
        attribution=Attribution(client_key=key),
    )


def test_only_what_the_same_caller_was_refused_is_remembered() -> None:
    refused, later = RefusedQuestions(), (IMAGE, Text(text="Look."), Text(text="And now?"))
    refused.record(ask(*later[:2]))
    assert refused.is_continued_by(ask(*later))
    assert not refused.is_continued_by(ask(*later, key="b"))
    assert not refused.is_continued_by(ask(*later, key=None))
    assert not refused.is_continued_by(ask(*later[:2]))
    assert not refused.is_continued_by(ask(*later, IMAGE))
    assert not refused.is_continued_by(ask(Text(text="Look."), Text(text="And now?")))


def test_texts_do_not_run_together() -> None:
    refused = RefusedQuestions()
    refused.record(ask(IMAGE, Text(text="ab")))
    assert not refused.is_continued_by(ask(IMAGE, Text(text="a"), Text(text="b"), Text(text="c")))


def test_the_oldest_are_dropped() -> None:
    refused = RefusedQuestions()
    for number in range(MAX_QUESTIONS + 1):
        refused.record(ask(IMAGE, Text(text=str(number))))
    more = Text(text="And now?")
    assert not refused.is_continued_by(ask(IMAGE, Text(text="0"), more))
    assert refused.is_continued_by(ask(IMAGE, Text(text="1"), more))


def test_a_request_without_messages_continues_nothing() -> None:
    refused = RefusedQuestions()
    request = ChatRequest(model="x/y", messages=())
    refused.record(request)
    assert not refused.is_continued_by(request)
