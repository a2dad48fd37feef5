"""Tracks the todo list by replaying the calls of its tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from devflow_claude_code.context.facts import Fact
from devflow_claude_code.reading.content import get_object, get_string
from devflow_claude_code.reading.rows import Json

_MARKS = {"completed": "[x]", "in_progress": "[>]", "pending": "[ ]", "deleted": "[-]"}


@dataclass(slots=True)
class _Todo:
    subject: str
    status: str
    description: str = ""


class TodoList:
    """A todo list; `TodoWrite` and reminders replace it, `TaskCreate` and `TaskUpdate` edit it."""

    def __init__(self) -> None:
        self._known: dict[str, _Todo] = {}
        self._unread_list: list[Any] | None = None
        """A whole list, parsed only when it is needed: later ones supersede most of them."""
        self._line = 0

    def record_call(
        self, line: int, tool: str, arguments: Json, outcome: Callable[[], Json]
    ) -> None:
        """Record a call that succeeded; tools that only read the list change nothing.

        Args:
            line: the line of the result, from 1.
            tool: `TodoWrite`, `TaskCreate`, `TaskUpdate` or another name.
            arguments: the call's arguments.
            outcome: loads the row of the result; called for `TaskCreate` only.
        """
        if tool == "TodoWrite":
            self._replace_all(line, arguments.get("todos"))
        elif tool == "TaskCreate":
            task = get_object(get_object(outcome(), "toolUseResult"), "task")
            todos = self._current()
            # the id is in the result only; without one, ids count from 1, as the client does
            todos[get_string(task, "id") or str(len(todos) + 1)] = _Todo(
                get_string(arguments, "subject") or get_string(task, "subject"),
                "pending",
                get_string(arguments, "description"),
            )
            self._line = line
        elif tool == "TaskUpdate":
            self._update(line, arguments)

    def record_reminder(self, line: int, subtype: str, body: Json) -> None:
        """Record the full list, which Claude Code repeats to remind the model.

        Attachments of another subtype are ignored.
        """
        if subtype in ("task_reminder", "todo_reminder"):
            self._replace_all(line, get_object(body, "attachment").get("content"))

    def facts(self) -> list[Fact]:
        """Return the todo list as a single fact; [] if it is empty."""
        todos = self._current()
        if not todos:
            return []
        text = "\n".join(
            f"{_MARKS.get(one.status, '[?]')} {one.subject}"
            + (f": {one.description}" if one.description and one.status != "completed" else "")
            for one in todos.values()
        )
        return [Fact(kind="todo", text=text, line=self._line, weight=95, is_protected=True)]

    def _replace_all(self, line: int, todos: object) -> None:
        if not isinstance(todos, list):
            return
        self._unread_list = cast("list[Any]", todos)
        self._line = line

    def _current(self) -> dict[str, _Todo]:
        if self._unread_list is not None:
            self._known = {
                get_string(one, "id") or str(index): _Todo(
                    get_string(one, "content") or get_string(one, "subject"),
                    get_string(one, "status"),
                    get_string(one, "description"),
                )
                for index, one in enumerate(self._unread_list)
            }
            self._unread_list = None
        return self._known

    def _update(self, line: int, arguments: Json) -> None:
        todo = self._current().get(get_string(arguments, "taskId"))
        if todo is None:
            return
        todo.status = get_string(arguments, "status") or todo.status
        todo.subject = get_string(arguments, "subject") or todo.subject
        todo.description = get_string(arguments, "description") or todo.description
        self._line = line
