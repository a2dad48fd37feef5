"""Lets another model continue a Claude Code session, and writes its reply back as a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devflow_claude_code import (
    AssistantReply,
    ClaudeCodeSession,
    Handoff,
    HandoffTarget,
    WrittenSession,
    write_back,
)
from devflow_core.messages import Message
from devflow_core.pipeline import Completion
from devflow_routing import Capability, Catalogue, RoutingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOff:
    """A session that another model has continued."""

    reply: Completion
    handoff: Handoff
    """What was sent, with the report of what was left out."""
    session: ClaudeCodeSession
    """The old session, which is never changed."""
    config_dir: Path
    """Claude Code's own folder, where the new session is stored if the old one is elsewhere."""

    def write_back(self) -> WrittenSession:
        """Write a new session for `claude --resume`: the old one, the prompt and the reply.

        It is stored beside the old one if that is in Claude Code's folder, otherwise in there.

        Raises:
            SessionError: the session names no folder, the reply is empty, or the file cannot be
                written.
        """
        answered = (Message(role="assistant", parts=self.reply.parts),)
        reply = AssistantReply(
            prompt=self.handoff.prompt,
            messages=answered,
            model=self.reply.model,
            usage=self.reply.usage,
            entry_id=self.reply.entry.entry_id,
        )
        return write_back(self.session, reply, config_dir=self.config_dir)


def find_handoff_target(
    model: str, catalogue: Catalogue, aliases: Mapping[str, str]
) -> HandoffTarget:
    """Return the model that takes over, with its window and whether it takes images.

    For `auto` and its modes the window is unknown, and the router finds a model that fits.

    Args:
        model: an id, an alias, or `auto` and its modes.
        catalogue: the models.
        aliases: the aliases of the settings.

    Raises:
        UnknownModel: the catalogue has neither the model nor one of its family.
    """
    name = RoutingPolicy(aliases=aliases).resolve(model)
    if name.startswith("auto"):
        return HandoffTarget(model=model)
    config = catalogue.find_or_newest(name)
    return HandoffTarget(
        model=model,
        window_tokens=config.context_length,
        takes_images=Capability.IMAGES in config.capabilities,
    )
