"""Serves every dialect over HTTP, on one port."""

from devflow_server.serving import RunningGateway, run_gateway
from devflow_server.workers import Announcement, serve

__all__ = ["Announcement", "RunningGateway", "run_gateway", "serve"]
