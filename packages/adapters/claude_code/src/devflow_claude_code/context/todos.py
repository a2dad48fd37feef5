"""The state of the todo list, replayed from what the tools were told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from devflow_claude_code.context.facts import Fact
from devflow_claude_code.reading.content import mapping, string
from devflow_claude_code.reading.rows import Json

_MARKS = {"completed": "[x]", "in_progress": "[>]", "pending": "[ ]", "deleted": "[-]"}


@dataclass(slots=True)
class _Todo:
    subject: str
    status: str
    description: str = ""


class TodoList:
    """`TodoWrite` replaces all, `TaskCreate` and `TaskUpdate` change one, a reminder tells all."""

    def __init__(self) -> None:
        self._known: dict[str, _Todo] = {}
        self._told: list[Any] | None = None
        """A whole list that is not looked into before somebody asks: most are overtaken."""
        self._line = 0

    def take_call(self, line: int, tool: str, asked: Json, outcome: Callable[[], Json]) -> None:
        """A call that succeeded; `outcome` reads the row of its result."""
        if tool == "TodoWrite":
            self._replace(line, asked.get("todos"))
        elif tool == "TaskCreate":
            task = mapping(mapping(outcome(), "toolUseResult"), "task")
            todos = self._todos()
            todos[string(task, "id") or str(len(todos) + 1)] = _Todo(
                string(asked, "subject") or string(task, "subject"),
                "pending",
                string(asked, "description"),
            )
            self._line = line
        elif tool == "TaskUpdate":
            self._update(line, asked)

    def take_reminder(self, line: int, subtype: str, body: Json) -> None:
        """The full list, as Claude Code reminds the model of it."""
        if subtype in ("task_reminder", "todo_reminder"):
            self._replace(line, mapping(body, "attachment").get("content"))

    def facts(self) -> list[Fact]:
        """The list as one fact, or none."""
        todos = self._todos()
        if not todos:
            return []
        text = "\n".join(
            f"{_MARKS.get(one.status, '[?]')} {one.subject}"
            + (f": {one.description}" if one.description and one.status != "completed" else "")
            for one in todos.values()
        )
        return [Fact(kind="todo", text=text, line=self._line, weight=95, is_whole=True)]

    def _replace(self, line: int, todos: object) -> None:
        if not isinstance(todos, list):
            return
        self._told = cast("list[Any]", todos)
        self._line = line

    def _todos(self) -> dict[str, _Todo]:
        if self._told is not None:
            self._known = {
                string(one, "id") or str(index): _Todo(
                    string(one, "content") or string(one, "subject"),
                    string(one, "status"),
                    string(one, "description"),
                )
                for index, one in enumerate(self._told)
            }
            self._told = None
        return self._known

    def _update(self, line: int, asked: Json) -> None:
        todo = self._todos().get(string(asked, "taskId"))
        if todo is None:
            return
        todo.status = string(asked, "status") or todo.status
        todo.subject = string(asked, "subject") or todo.subject
        todo.description = string(asked, "description") or todo.description
        self._line = line
