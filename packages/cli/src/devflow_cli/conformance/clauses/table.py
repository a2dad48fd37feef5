"""Lists all clauses, in the order in which they are checked."""

from __future__ import annotations

from devflow_cli.conformance.clause import Clause
from devflow_cli.conformance.clauses import (
    chat,
    errors,
    gateway,
    messages,
    prompts,
    responses,
    streams,
    tools,
)
from devflow_cli.conformance.terms import Effort, Group

_FREE = Effort(calls=0)
_ONCE = Effort(calls=1)
_TWICE = Effort(calls=2)
_ANSWERS = ("answers",)


def _common(group: Group) -> tuple[Clause, ...]:
    """Return the clauses that every dialect has."""
    return (
        # first: without an answer the clauses that need it are skipped, and cost nothing
        Clause(group, streams.answers, _ONCE),
        Clause(group, streams.usage, _TWICE, _ANSWERS),
        Clause(group, streams.in_time, _TWICE, _ANSWERS),
        # a stream that is held back has no text to leave at
        Clause(group, streams.cancel, _ONCE, (*_ANSWERS, "in_time")),
        Clause(group, streams.broken_stream, _ONCE, _ANSWERS),
        Clause(group, prompts.late_system, _TWICE, _ANSWERS),
        Clause(group, tools.tool_calls, Effort(calls=3), _ANSWERS),
        Clause(group, prompts.tool_results, _TWICE, _ANSWERS),
        Clause(group, prompts.image, Effort(calls=2, output_tokens=256), _ANSWERS),
        Clause(group, prompts.utf8, _TWICE, _ANSWERS),
        Clause(group, prompts.max_tokens, Effort(output_tokens=64), _ANSWERS),
        Clause(group, prompts.structured, _ONCE, _ANSWERS),
        Clause(group, errors.error_status, _FREE),
        Clause(group, errors.error_shape, _FREE),
        Clause(group, errors.request_id, _FREE),
    )


_CACHE = Effort(calls=3, input_tokens=messages.MAX_CACHED_TOKENS, output_tokens=16)
_THINKING = Effort(calls=2, output_tokens=messages.MAX_THINKING_TOKENS)
_SMALL = Effort(output_tokens=64)

CLAUSES: tuple[Clause, ...] = (
    # first: the clauses that ask a model are skipped if it fails
    Clause("gateway", gateway.reachable, _FREE),
    Clause("gateway", gateway.strangers, _FREE),
    *_common("messages"),
    Clause("messages", messages.stream_grammar, _TWICE, _ANSWERS),
    Clause("messages", messages.early_usage, _ONCE, _ANSWERS),
    Clause("messages", messages.system_prompt, Effort(calls=4, output_tokens=256), _ANSWERS),
    Clause("messages", messages.cache, _CACHE, _ANSWERS),
    Clause("messages", messages.stop_sequences, _ONCE, _ANSWERS),
    Clause("messages", messages.thinking, _THINKING, _ANSWERS),
    Clause(
        "messages",
        messages.unknown_fields,
        Effort(output_tokens=messages.MAX_THINKING_TOKENS),
        _ANSWERS,
    ),
    Clause("messages", messages.unknown_betas, _SMALL, _ANSWERS),
    Clause("messages", messages.deferred_tools, _SMALL, _ANSWERS),
    Clause("messages", messages.both_credentials, _SMALL, _ANSWERS),
    Clause("messages", messages.count_tokens, _FREE),
    Clause("messages", messages.discovery, _FREE),
    Clause("messages", messages.hello, _FREE),
    *_common("responses"),
    Clause("responses", responses.stream_grammar, _TWICE, _ANSWERS),
    Clause("responses", prompts.system_prompt, _TWICE, _ANSWERS),
    Clause("responses", responses.codex_fields, _ONCE, _ANSWERS),
    Clause("responses", responses.reasoning, _TWICE, _ANSWERS),
    *_common("chat"),
    Clause("chat", chat.stream_grammar, _ONCE, _ANSWERS),
    Clause("chat", prompts.system_prompt, _TWICE, _ANSWERS),
    Clause("chat", chat.one_role, _ONCE, _ANSWERS),
    Clause("chat", chat.one_finish, _ONCE, _ANSWERS),
    Clause("chat", chat.done, _ONCE, _ANSWERS),
    Clause("chat", chat.json_mode, _ONCE, _ANSWERS),
    Clause("chat", chat.models, _FREE),
)
"""Every clause once, by group."""
