"""Remembers questions that were refused for their media, so that their sessions can go on."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator

from devflow_core.messages import Media, Message, Text
from devflow_core.request import ChatRequest

MAX_QUESTIONS = 1_000
"""The most questions that are remembered, each as a digest; the oldest are dropped."""


class RefusedQuestions:
    """The newest messages of refused requests, as digests.

    A client that keeps a refused question in its history sends it again with everything that its
    user says later, and some put all of that into one message. Such a message asks something new.
    """

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self.on_record: Callable[[bytes], None] = _tell_nobody
        """Gets the digest of each question that is refused here, for those who `add` it."""

    def record(self, request: ChatRequest) -> None:
        """Remember the newest message of a request that was refused."""
        *_, whole = _digests_of(request)
        self.add(whole)
        self.on_record(whole)

    def add(self, digest: bytes) -> None:
        """Remember a question by its digest, such as one that was refused in another process."""
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > MAX_QUESTIONS:
            self._digests.popitem(last=False)

    def is_continued_by(self, request: ChatRequest) -> bool:
        """Return whether the newest message begins with a refused one, and goes on without media.

        The same message again is not a continuation: it asks the same.
        """
        *beginnings, _ = _digests_of(request)
        known = [count for count, one in enumerate(beginnings) if one in self._digests]
        if not known:
            return False
        later = request.messages[-1].parts[known[-1] :]
        return not any(isinstance(part, Media) for part in later)


def _tell_nobody(_digest: bytes) -> None:
    pass


def _digests_of(request: ChatRequest) -> Iterator[bytes]:
    """Yield a digest of the newest message before its first part, and after each of them.

    What one caller was refused is unknown to the others.
    """
    digest = hashlib.blake2b(repr(request.attribution.client_key).encode(), digest_size=16)
    yield digest.digest()
    newest = request.messages[-1] if request.messages else Message(role="user", parts=())
    for part in newest.parts:
        match part:
            case Text():
                content = part.text
            case Media():
                content = part.base64 or part.url or ""
            case _:
                content = repr(part)
        digest.update(b"%s %d " % (type(part).__name__.encode(), len(content)))
        digest.update(content.encode(errors="surrogatepass"))
        yield digest.digest()
