"""The HTTP gateway, and the one place where DevFlow is wired together."""

from devflow_server.serving import Running, running
from devflow_server.workers import Announcement, serve

__all__ = ["Announcement", "Running", "running", "serve"]
