"""What requests are about and how hard they are: by their words, their shape, and who asks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from devflow_core.messages import Media, Message, Text, ToolResult
from devflow_core.request import ChatRequest, Tool
from devflow_core.routing import SelectionCriteria, Task
from devflow_core.testing import a_request
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_core.wire.openai_chat import OPENAI_CHAT
from devflow_core.wire.openai_responses import OPENAI_RESPONSES
from devflow_routing import TaskClassifier
from devflow_routing.classifier.rules import claim_phrases
from devflow_routing.decision import task_from_json
from hypothesis import given
from hypothesis import strategies as st

CLASSIFIER = TaskClassifier()
AGENT_TOOLS = ("Bash", "Edit", "Glob", "Grep", "Read", "Task", "TodoWrite", "WebFetch", "Write")

VERBS = ("Prove", "Name", "Translate", "Analyse", "Debug", "Describe")
NOUNS = ("shape", "contract", "server", "song", "theorem", "city")


def task_of(text: str) -> Task:
    return CLASSIFIER.classify(ChatRequest.from_text(text))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Translate to Dutch: The bridge is closed until May.", "text_ops"),
        ("Proofread: Me and him was late for the meeting", "text_ops"),
        ('Extract city and price as JSON: "A room in Oslo costs 90 euros."', "text_ops"),
        ("Übersetze ins Englische: Die Brücke ist bis Mai gesperrt.", "text_ops"),
        ("Riassumi: il ponte resta chiuso fino a maggio per lavori.", "text_ops"),
        ("Przetłumacz na angielski: Most jest zamknięty do maja.", "text_ops"),
        ("Traduce al inglés: El puente está cerrado hasta mayo.", "text_ops"),
        ("Corrige les fautes : Le pont et fermer jusque en mai.", "text_ops"),
        ("请总结:大桥因施工关闭至五月。", "text_ops"),
        ("hi", "knowledge"),
        ("thanks, that did it!", "knowledge"),
        ("Schreibe eine Funktion in Rust, die eine Datei zeilenweise liest.", "coding"),
        ("Scrivi una funzione Go che legge un file JSON.", "coding"),
        ("用Java写一个函数,判断字符串是否为回文。", "coding"),
        ("31*44", "math"),
    ],
)
def test_kinds_are_told_in_seven_languages(text: str, kind: str) -> None:
    assert task_of(text).type == kind


@pytest.mark.parametrize(
    "text",
    [
        "Prove that the real numbers are uncountable.",
        "Our borrower filed for chapter 11. Analyse what the automatic stay forbids us, and when.",
        "An 81-year-old on warfarin was given fluconazole and has an INR of 8. What is to be done?",
        "Under load our Rust service deadlocks on two mutexes. Show a safe design and its price.",
        "Beweise, dass es unendlich viele Primzahlen gibt.",
        "Udowodnij, że liczb pierwszych jest nieskończenie wiele.",
        "证明素数有无穷多个。",
    ],
)
def test_what_experts_call_hard_is_rated_high(text: str) -> None:
    task = task_of(text)
    assert (task.complexity, task.difficulty > 0.6) == ("high", True)


@pytest.mark.parametrize(
    "text",
    ["hi", "thanks", "18*24", "What is the capital of Chile?", "Translate to German: good night"],
)
def test_what_any_model_can_do_is_rated_low(text: str) -> None:
    task = task_of(text)
    assert (task.complexity, task.difficulty < 0.35) == ("low", True)


@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [
        ("Fix the failing test in cart.py", "Hello! ", " Thanks a lot!"),
        ("What is the capital of Chile?", "Please help me with this. ", "\nThank you!"),
        ("Beweise, dass es unendlich viele Primzahlen gibt.", "Hallo, ", " Vielen Dank im voraus."),
        ("Scrivi una funzione Go che legge un file JSON.", "Ciao! ", " Grazie mille"),
        ("证明素数有无穷多个。", "你好,", "谢谢你!"),
    ],
)
def test_a_greeting_and_thanks_change_nothing(asked: str, before: str, after: str) -> None:
    plain = task_of(asked)
    polite = task_of(f"{before}{asked}{after}")
    assert (polite.type, polite.difficulty) == (plain.type, plain.difficulty)
    assert polite.text in (asked, asked.removesuffix("."))


@pytest.mark.parametrize("text", ["hello!", "Hi, thanks!", "thank you", "谢谢"])
def test_courtesies_alone_are_what_is_said(text: str) -> None:
    assert task_of(text).text == text


def test_words_tell_few_levels_of_difficulty() -> None:
    texts = [
        f"{verb} the {noun} of a {place}." for verb in VERBS for noun in NOUNS for place in NOUNS
    ]
    assert 2 <= len({task_of(text).difficulty for text in texts}) <= 4


def agent_turn(text: str = "Fix the failing test", *, results: int = 0) -> ChatRequest:
    found = tuple(
        Message(role="user", parts=(ToolResult(call_id=str(one), parts=(Text(text="E " * 400),)),))
        for one in range(results)
    )
    return ChatRequest(
        messages=(
            Message(role="system", parts=(Text(text="You are a coding agent. " * 600),)),
            Message(role="user", parts=(Text(text=text),)),
            *found,
        ),
        tools=tuple(Tool(name=name) for name in AGENT_TOOLS),
    )


def test_an_agents_short_ask_is_hard_coding() -> None:
    task, alone = CLASSIFIER.classify(agent_turn()), task_of("Fix the failing test")
    assert (task.type, task.complexity) == ("coding", "high")
    assert task.difficulty > alone.difficulty + 0.15
    assert "9 tools, a long system prompt" in task.reasons[1]


def test_a_position_far_in_a_session_is_harder() -> None:
    rated = [CLASSIFIER.classify(agent_turn(results=one)).difficulty for one in (0, 2, 60)]
    assert rated == sorted(set(rated))


def test_tools_for_something_else_do_not_make_it_coding() -> None:
    tools = (Tool(name="get_weather"), Tool(name="book_table"))
    request = replace(ChatRequest.from_text("What is the weather in Oslo?"), tools=tools)
    assert CLASSIFIER.classify(request).type == "knowledge"


def test_attachments_and_the_expected_model_count() -> None:
    text = "Compare the two offers and recommend one."
    plain = task_of(text)
    image = Media(kind="image", url="https://example.com/a.png")
    parts = (Text(text=text), image, image)
    seen = CLASSIFIER.classify(ChatRequest(messages=(Message(role="user", parts=parts),)))
    rated = {
        name: CLASSIFIER.classify(a_request(text, model=name)).difficulty
        for name in ("auto:cheap", "anthropic/claude-opus-4.5", "openai/gpt-5-mini")
    }
    assert seen.difficulty > plain.difficulty
    assert rated["auto:cheap"] == plain.difficulty
    assert rated["openai/gpt-5-mini"] < plain.difficulty < rated["anthropic/claude-opus-4.5"]


def test_the_caller_sets_the_band() -> None:
    criteria = SelectionCriteria(complexity="high")
    task = CLASSIFIER.classify(replace(ChatRequest.from_text("hi"), criteria=criteria))
    assert (task.type, task.complexity, task.difficulty > 0.6) == ("knowledge", "high", True)


def _chat(user: str, system: str = "", **more: Any) -> ChatRequest:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    return OPENAI_CHAT.decode_request({"model": "auto", "messages": messages, **more}, {})


def _anthropic(user: str, system: tuple[str, ...] = (), **more: Any) -> ChatRequest:
    body = {
        "model": "auto",
        "max_tokens": 32_000,
        "system": [{"type": "text", "text": one} for one in system],
        "messages": [{"role": "user", "content": [{"type": "text", "text": user}]}],
        **more,
    }
    return ANTHROPIC_MESSAGES.decode_request(body, {})


CLAUDE = "You are Claude Code, Anthropic's official CLI for Claude."
BASH = {"name": "Bash", "input_schema": {"type": "object"}}
SIDE_CALLS = {
    "a quota": _anthropic("quota", max_tokens=1),
    "a warm-up": _anthropic("Warmup", (CLAUDE,), tools=[BASH]),
    "a topic": _anthropic(
        "the login page is slow, prove it",
        (CLAUDE, "Analyze if this message indicates a new conversation topic. If so, say a title."),
    ),
    "a title": _anthropic(
        "Please write a 5-10 word title for the following conversation:\n\nUser: fix the tests",
        ("Summarize this coding conversation in under 50 characters.",),
    ),
    "a compaction": _anthropic(
        "Your task is to create a detailed summary of the conversation so far, paying attention to"
        " the user's requests.",
        (CLAUDE,),
        tools=[BASH],
    ),
    "a compaction without tools": _anthropic(
        "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n- Not Bash.\n\nYour task is to"
        " create a detailed summary of the RECENT portion of the conversation.",
        tools=[BASH],
    ),
    "a suggestion": _anthropic("[SUGGESTION MODE: Suggest what the user might type next]"),
    "a thread title": _chat(
        "Generate a title for this conversation:\n", "You are a title generator. Output a title."
    ),
    "a summary for another agent": _chat(
        "<conversation>…", "You are a context summarization agent."
    ),
    "a checkpoint": OPENAI_RESPONSES.decode_request(
        {
            "model": "auto",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {
                            "type": "input_text",
                            "text": "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a"
                            " handoff summary for another LLM.",
                        }
                    ],
                }
            ],
        },
        {},
    ),
    "a commit": _chat("diff --git a/a b/a", "You write one-line Git commit messages for diffs."),
    "a prefix": _chat("Command: ls", "This policy spec defines the prefix of a Bash command."),
    "tags": _chat("### Task:\nGenerate 1-3 broad tags for the main themes of the chat history."),
}


@pytest.mark.parametrize("name", SIDE_CALLS)
def test_what_a_harness_asks_for_itself_is_background(name: str) -> None:
    task = CLASSIFIER.classify(SIDE_CALLS[name])
    assert (task.type, task.complexity) == ("background", "low")
    assert task.reasons[0].startswith("background: ")


@pytest.mark.parametrize(
    "request_of_a_human",
    [
        _chat("Write a title for my blog post about bread"),
        _chat("Summarize our conversation about the trip so far"),
        _chat("Suggest a topic for my thesis", "You are a helpful assistant of a university."),
        _chat("quota"),
        _chat("What is a good commit message?"),
        agent_turn("Your task is to create a detailed summary of README.md"),
        _chat("Fix the title of this page", "You are a coding agent. " * 600),
    ],
)
def test_what_a_human_asks_is_never_background(request_of_a_human: ChatRequest) -> None:
    assert CLASSIFIER.classify(request_of_a_human).type != "background"


@given(st.text(), st.integers(0, 30), st.integers(0, 5))
def test_any_shape_has_a_difficulty(text: str, tools: int, turns: int) -> None:
    request = ChatRequest(
        messages=tuple(Message(role="user", parts=(Text(text=text),)) for _ in range(turns)),
        tools=tuple(Tool(name=f"tool {one}") for one in range(tools)),
    )
    task = CLASSIFIER.classify(request)
    assert 0 <= task.difficulty <= 1
    assert len(task.reasons) == (1 if task.type == "background" else 2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["x" * 5_000, "9" * 5_000, "{" * 5_000, "字" * 5_000, ""])
def test_endless_words_overflow_nothing(text: str) -> None:
    assert 0 < task_of(text).confidence <= 1


def test_a_record_keeps_the_difficulty_and_old_ones_have_a_middle_one() -> None:
    task: dict[str, Any] = {
        "type": "math",
        "complexity": "low",
        "confidence": 1.0,
        "reasons": [],
        "domains": [],
    }
    assert task_from_json({"task": task}).difficulty == 0.5
    kept = json.loads(json.dumps({"task": {**task, "difficulty": 0.1}}))
    assert task_from_json(kept).difficulty == 0.1


def test_a_phrase_of_a_kind_that_was_not_learned_speaks_for_it_alone() -> None:
    phrases = {"legal": ["tenant", "clause"], "analysis": ["tenant", "lease"], "hard": ["clause"]}
    claimed = claim_phrases(phrases, learned={"analysis", "hard"})
    assert claimed == {"legal": ["tenant", "clause"], "analysis": ["lease"], "hard": ["clause"]}
