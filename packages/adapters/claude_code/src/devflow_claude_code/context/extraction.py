"""Extracts the facts of a session in one pass over its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from devflow_claude_code.context.facts import Fact
from devflow_claude_code.context.files import FileStates
from devflow_claude_code.context.todos import TodoList
from devflow_claude_code.reading.content import (
    as_json,
    flatten_text,
    get_object,
    get_string,
    human_text,
    text_of,
    tool_calls,
    tool_results,
)
from devflow_claude_code.reading.rows import Json, TranscriptRow

# Words that mark a reply as a decision, a finding or a plan; the tests with planted facts check
# that they find enough.
_DECISION_WORDS = re.compile(
    r"(?i)\b(?:decision|decid|chose|choos|instead of|rather than|because|therefore|root cause"
    r"|must not|must|never|always|agreed|trade-?off|constraint"
    r"|(?:i|we)(?:'ll| will) (?:use|keep|reuse|not|go)"
    r"|not done|remaining|next step|todo|assum|found (?:that|the|out)|turns out)"
)
_TODO_TOOLS = frozenset({"TodoWrite", "TaskCreate", "TaskUpdate", "TaskList", "TaskGet"})
"""Tools left out of the commands: the todo list is reported as one fact (`TodoList`)."""
_FILE_TOOLS = frozenset({"Read", "Write", "Edit", "MultiEdit", "NotebookEdit"})
_QUESTION_TOOLS = frozenset({"AskUserQuestion", "ExitPlanMode"})
_AGENT_TOOLS = frozenset({"Task", "Agent"})
_MAX_SEARCHED_CHARS = 20_000
"""The characters of a long reply that are searched, from its end, where decisions come last."""
_MAX_RUNS = 300
"""The most commands and other tool runs that become facts; the most recent ones do."""


@dataclass(slots=True)
class _ToolRun:
    """A tool run; its output stays undecoded until the fact is built."""

    line: int
    call: str
    call_id: str
    result_row: TranscriptRow
    is_error: bool
    tool: str


def extract_facts(
    rows: Iterable[TranscriptRow], load: Callable[[TranscriptRow], Json]
) -> list[Fact]:
    """Return all facts of a session, unsorted and at full length.

    Args:
        rows: the rows of its history, in order.
        load: returns the decoded line of a row.
    """
    extraction = _Extraction(load)
    for row in rows:
        extraction.add_row(row)
    return extraction.facts()


class _Extraction:
    """One pass over the rows of a session.

    Tool results are large, and later ones supersede most of them. They are only recorded on the
    way, and those that still count are decoded at the end.
    """

    def __init__(self, load: Callable[[TranscriptRow], Json]) -> None:
        self.load = load
        self.prompts: list[tuple[int, str]] = []
        self.replies: list[tuple[int, str]] = []
        self.summary: tuple[int, str] | None = None
        self.calls: dict[str, tuple[int, str, Json]] = {}
        self.runs: dict[str, _ToolRun] = {}
        self.todos = TodoList()
        self.files = FileStates()

    def add_row(self, row: TranscriptRow) -> None:
        for call_id, is_error in row.tool_results:
            self._add_result(row, call_id, is_error)
        # the common case in a long session: such a row need not be decoded at all
        if row.tool_results and not row.has_text:
            return
        body = self.load(row)
        # a queued prompt is an attachment too, so `human_text` comes before the other attachments
        if row.type == "assistant":
            self._add_reply(row, body)
        elif text := human_text(row, body):
            self.prompts.append((row.line, text))
        elif row.is_summary:
            self.summary = (row.line, text_of(body))
        elif row.type == "attachment":
            self.todos.record_reminder(row.line, row.subtype, body)
            self.files.record_attachment(row, body)

    def _add_reply(self, row: TranscriptRow, body: Json) -> None:
        if row.has_text and (text := text_of(body)):
            self.replies.append((row.line, text))
        for call in tool_calls(body) if row.tool_calls else ():
            arguments = get_object(call, "input")
            self.calls[get_string(call, "id")] = (row.line, get_string(call, "name"), arguments)

    def _add_result(self, row: TranscriptRow, call_id: str, is_error: bool) -> None:
        call = self.calls.pop(call_id, None)
        if call is None:
            return
        line, tool, arguments = call
        if tool in _TODO_TOOLS and not is_error:
            self.todos.record_call(row.line, tool, arguments, lambda: self.load(row))
        elif tool in _FILE_TOOLS and not is_error:
            self.files.record_call(line, tool, arguments, row)
        else:
            call_text = _call_text(tool, arguments)
            # a repeated command counts once, at its last run: a failure that was fixed is no longer
            # one
            self.runs.pop(call_text, None)
            self.runs[call_text] = _ToolRun(line, call_text, call_id, row, is_error, tool)

    def facts(self) -> list[Fact]:
        exchange = self._exchange()
        # Weights decide what a small budget keeps: the first goal (100), the last exchange (97-98),
        # todos (95), other goals (90), questions and failed commands (80-85), decisions (75), the
        # summary (70), changed files (65), reports of sub-agents and other failures (60), notes
        # (50), read files (40), commands that passed (30).
        facts = [*self._goals(), *exchange, *self._questions(), *self.todos.facts()]
        if self.summary is not None:
            facts.append(
                Fact(kind="summary", text=self.summary[1], line=self.summary[0], weight=70)
            )
        reported = {fact.line for fact in exchange}
        for line, text in self.replies:
            if line not in reported:
                is_decision = _DECISION_WORDS.search(text[-_MAX_SEARCHED_CHARS:]) is not None
                kind, weight = ("decision", 75) if is_decision else ("note", 50)
                facts.append(Fact(kind=kind, text=text, line=line, weight=weight))
        facts += (self._fact_of_run(run) for run in list(self.runs.values())[-_MAX_RUNS:])
        facts += self.files.facts(self.load)
        return facts

    def _goals(self) -> list[Fact]:
        last = len(self.prompts) - 1
        return [
            Fact(
                kind="goal",
                text=text,
                line=line,
                weight=100 if index == 0 else 90,
                is_protected=index == 0,
            )
            for index, (line, text) in enumerate(self.prompts)
            if index == 0 or index != last
        ]

    def _exchange(self) -> list[Fact]:
        """Return the last prompt, unless it is the only one, and the last reply to it."""
        if not self.prompts:
            return []
        line, prompt = self.prompts[-1]
        facts: list[Fact] = []
        if len(self.prompts) > 1:  # the only prompt is the goal already
            text = f"User: {prompt}"
            facts.append(Fact(kind="exchange", text=text, line=line, weight=98, is_protected=True))
        replies = [(reply_line, text) for reply_line, text in self.replies if reply_line > line]
        if replies:
            reply_line, text = replies[-1]
            facts.append(
                Fact(
                    kind="exchange",
                    text=f"Assistant: {text}",
                    line=reply_line,
                    weight=97,
                    is_protected=True,
                )
            )
        return facts

    def _questions(self) -> list[Fact]:
        """Return open questions: calls without a result, and questions since the last prompt."""
        questions = [
            Fact(kind="question", text=_call_text(tool, arguments), line=line, weight=85)
            for line, tool, arguments in self.calls.values()
            if tool in _QUESTION_TOOLS
        ]
        interrupted = [
            Fact(
                kind="question",
                text=f"{_call_text(tool, arguments)}\n(no result: it was interrupted)",
                line=line,
                weight=80,
            )
            for line, tool, arguments in self.calls.values()
            if tool not in _QUESTION_TOOLS
        ]
        # a question before the last prompt was answered by it
        since = self.prompts[-1][0] if self.prompts else 0
        sentences = [
            Fact(kind="question", text=sentence, line=line, weight=85)
            for line, text in self.replies
            if line > since
            for sentence in re.findall(r"[^.!?\n]{3,400}\?(?=\s|$)", text[-_MAX_SEARCHED_CHARS:])
        ]
        return (
            questions
            + interrupted
            + [
                Fact(kind=one.kind, text=one.text.strip(" -*"), line=one.line, weight=one.weight)
                for one in sentences
            ]
        )

    def _fact_of_run(self, run: _ToolRun) -> Fact:
        outputs = [
            flatten_text(result.get("content")).strip()
            for result in tool_results(self.load(run.result_row))
            if get_string(result, "tool_use_id") == run.call_id
        ]
        output = "\n".join(outputs)
        if run.is_error:
            text = f"{run.call}\nfailed:\n{output}"
            weight = 85 if run.tool == "Bash" else 60
            return Fact(kind="failure", text=text, line=run.line, weight=weight)
        weight = 60 if run.tool in _AGENT_TOOLS else 30
        return Fact(kind="command", text=f"{run.call}\n{output}", line=run.line, weight=weight)


def _call_text(tool: str, arguments: Json) -> str:
    if tool == "Bash":
        return f"$ {get_string(arguments, 'command')}"
    if tool in _AGENT_TOOLS:
        return f"{tool}: {get_string(arguments, 'description')}: {get_string(arguments, 'prompt')}"
    if tool == "ExitPlanMode":
        return f"Plan waiting for approval:\n{get_string(arguments, 'plan')}"
    if tool == "AskUserQuestion":
        return "\n".join(
            _question_text(one) for one in cast("list[Any]", arguments.get("questions") or [])
        )
    return f"{tool} {as_json(arguments)}"


def _question_text(question: object) -> str:
    options = get_object({"o": question}, "o").get("options")
    labels = [get_string(option, "label") for option in cast("list[Any]", options or [])]
    return (
        f"{get_string(question, 'question')} ({' / '.join(labels)})"
        if labels
        else get_string(question, "question")
    )
