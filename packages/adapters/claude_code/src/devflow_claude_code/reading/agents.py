"""Finds the transcripts of a session's sub-agents that have their own files."""

from __future__ import annotations

from pathlib import Path

from devflow_claude_code.reading.content import text_of
from devflow_claude_code.reading.paths import agents_dir, find_agent_transcripts
from devflow_claude_code.reading.transcript import Transcript


def read_agents(transcript: Path, session_id: str) -> tuple[Transcript, ...]:
    """Return the transcripts of a session's sub-agents, read to their ends, at any depth.

    The warm-up calls of Claude Code 2.0 are left out, since they belong to no work.

    Raises:
        SessionError: one of the files cannot be read.
    """
    found = (read_agent(path) for path in find_agent_transcripts(transcript, session_id))
    return tuple(agent for agent in found if not is_warm_up(agent))


def read_agent(path: Path) -> Transcript:
    """Return the transcript of one sub-agent, read to its end.

    Raises:
        SessionError: the file cannot be read.
    """
    agent = Transcript(path)
    agent.refresh()
    return agent


def agent_name(agent: Path, transcript: Path) -> str:
    """Return the path of a sub-agent's file below its session's `subagents`, without the suffix.

    For a file elsewhere, as 2.0 writes it, it is the file's name alone.
    """
    folder = agents_dir(transcript)
    name = agent.relative_to(folder) if agent.is_relative_to(folder) else Path(agent.name)
    return name.with_suffix("").as_posix()


def is_warm_up(agent: Transcript) -> bool:
    """Return whether a file holds the warm-up call that 2.0 makes for each kind of sub-agent.

    It makes one for each, used or not, so these calls belong to no work; they are billed.
    """
    rows = [row for row in agent.rows if row.type]
    return len(rows) <= 2 and bool(rows) and text_of(agent.load(rows[0])) == "Warmup"
