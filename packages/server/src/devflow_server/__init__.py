"""The HTTP gateway, and the one place where DevFlow is wired together."""

from devflow_server.serving import RunningGateway, run_gateway
from devflow_server.workers import Announcement, serve

__all__ = ["Announcement", "RunningGateway", "run_gateway", "serve"]
