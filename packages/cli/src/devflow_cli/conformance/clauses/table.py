"""The table of all clauses, in the order in which they are checked."""

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


def _common(group: Group) -> tuple[Clause, ...]:
    """Return the clauses that every dialect has."""
    return (
        Clause(group, streams.answers, _ONCE),
        Clause(group, streams.usage, _TWICE),
        Clause(group, streams.in_time, _TWICE),
        Clause(group, streams.cancel, _ONCE),
        Clause(group, streams.broken_stream, _ONCE),
        Clause(group, prompts.system_prompt, _TWICE),
        Clause(group, prompts.late_system, _TWICE),
        Clause(group, tools.tool_calls, Effort(calls=3)),
        Clause(group, prompts.tool_results, _TWICE),
        Clause(group, prompts.image, Effort(calls=2, output_tokens=256)),
        Clause(group, prompts.utf8, _TWICE),
        Clause(group, prompts.max_tokens, Effort(output_tokens=64)),
        Clause(group, prompts.structured, _ONCE),
        Clause(group, errors.error_status, _FREE),
        Clause(group, errors.error_shape, _FREE),
        Clause(group, errors.request_id, _FREE),
    )


CLAUSES: tuple[Clause, ...] = (
    Clause("gateway", gateway.reachable, _FREE),
    Clause("gateway", gateway.strangers, _FREE),
    *_common("messages"),
    Clause("messages", messages.stream_grammar, _TWICE),
    Clause("messages", messages.early_usage, _ONCE),
    Clause("messages", messages.system_blocks, _TWICE),
    Clause(
        "messages",
        messages.cache,
        Effort(calls=3, input_tokens=messages.CACHED_PROMPT_TOKENS, output_tokens=16),
    ),
    Clause("messages", messages.stop_sequences, _ONCE),
    Clause("messages", messages.thinking, Effort(calls=2, output_tokens=2048)),
    Clause("messages", messages.unknown_fields, Effort(output_tokens=2048)),
    Clause("messages", messages.unknown_betas, Effort(output_tokens=64)),
    Clause("messages", messages.deferred_tools, Effort(output_tokens=64)),
    Clause("messages", messages.both_credentials, Effort(output_tokens=64)),
    Clause("messages", messages.count_tokens, _FREE),
    Clause("messages", messages.discovery, _FREE),
    Clause("messages", messages.hello, _FREE),
    *_common("responses"),
    Clause("responses", responses.stream_grammar, _TWICE),
    Clause("responses", responses.codex_fields, _ONCE),
    Clause("responses", responses.reasoning, _TWICE),
    *_common("chat"),
    Clause("chat", chat.stream_grammar, _ONCE),
    Clause("chat", chat.one_role, _ONCE),
    Clause("chat", chat.one_finish, _ONCE),
    Clause("chat", chat.done, _ONCE),
    Clause("chat", chat.json_mode, _ONCE),
    Clause("chat", chat.models, _FREE),
)
"""Every clause once, by group."""
