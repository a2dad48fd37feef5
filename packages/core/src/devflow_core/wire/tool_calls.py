"""Assembles the pieces of tool calls that providers send into calls that begin with their name."""

from __future__ import annotations

import orjson

from devflow_core.events import ToolCallDelta


class CallPieces:
    """Finds the call that a piece belongs to, and holds a call back until its name is known.

    Providers may send the id before the name, another id with every piece of one call, or one index
    for all parallel calls.
    """

    def __init__(self) -> None:
        self._calls: dict[object, CallInPieces] = {}
        self._unnamed: dict[int, CallInPieces] = {}
        self._by_id: dict[str, CallInPieces] = {}
        self._last: object = 0
        self.count = 0
        """The number of calls that have begun, including those held back."""

    def add(
        self, wire_index: object, call_id: str | None, name: str | None, arguments: str
    ) -> ToolCallDelta | None:
        """Return the delta for one piece; None while the call has no name, as it is then held back.

        Args:
            wire_index: the provider's number of the call, if any.
            call_id: None if the piece has none.
            name: None if the piece has none.
            arguments: more text of the arguments.
        """
        return self.add_to(self.find(wire_index, call_id, name), call_id, name, arguments)

    def add_to(
        self, call: CallInPieces, call_id: str | None, name: str | None, arguments: str
    ) -> ToolCallDelta | None:
        """Return the delta for one piece as `add` does, for the call that `find` has returned."""
        call.arguments.append(arguments)
        new_id = call_id if call.id is None else None
        if new_id is not None:
            call.id = new_id
            self._by_id.setdefault(new_id, call)
        if call.name is not None:
            return ToolCallDelta(index=call.index, id=new_id, arguments=arguments)
        if name is None:
            self._unnamed[call.index] = call
            return None
        call.name = name
        self._unnamed.pop(call.index, None)
        return call.begin()

    def flush(self) -> list[ToolCallDelta]:
        """Return, at the end of the reply, the calls held back that have arguments but no name."""
        unnamed, self._unnamed = self._unnamed, {}
        return [call.begin() for call in unnamed.values() if any(call.arguments)]

    def has(self, wire_index: object) -> bool:
        """Return whether a call with this number has begun."""
        return wire_index in self._calls

    def find(self, wire_index: object, call_id: str | None, name: str | None) -> CallInPieces:
        """Return the call that a piece belongs to, or a new one that it begins; see `add`."""
        if not isinstance(wire_index, int):
            is_known = call_id in self._calls or name is not None or not self._calls
            wire_index = call_id if call_id is not None and is_known else self._last
        self._last = wire_index
        call = self._calls.get(wire_index)
        if call is not None and call_id is not None and call.id not in {None, call_id}:
            # its number belongs to a later call, but its id identifies it
            call = self._by_id.get(call_id, call)
        if call is None or call.is_other(call_id, name):
            call = self._calls[wire_index] = CallInPieces(self.count)
            self.count += 1
        return call


class CallInPieces:
    """One call, as far as it has arrived."""

    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        """Our index: from 0, in the order in which the calls began."""
        self.id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []

    def begin(self) -> ToolCallDelta:
        """Return the first delta of this call, with everything that has arrived so far."""
        arguments = "".join(self.arguments)
        return ToolCallDelta(index=self.index, id=self.id, name=self.name, arguments=arguments)

    def is_other(self, call_id: str | None, name: str | None) -> bool:
        """Return whether a piece under this call's number begins another call.

        A new id alone does not: some providers make one for every piece. A new id with another name
        does; one with the same name does once the arguments of this call are complete JSON.
        """
        if call_id is None or name is None or self.id in {None, call_id} or self.name is None:
            return False
        if name != self.name:
            return True
        arguments = "".join(self.arguments)
        if not arguments:
            return False
        try:
            orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return False
        return True
