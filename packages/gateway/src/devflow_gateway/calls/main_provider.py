"""Names what the calls build on, so that the main provider is named in one place."""

from devflow_openrouter import OpenRouterGateway as BaseGateway
from devflow_openrouter.structured_output import build_repair_request, complete_structured

__all__ = ["BaseGateway", "build_repair_request", "complete_structured"]
