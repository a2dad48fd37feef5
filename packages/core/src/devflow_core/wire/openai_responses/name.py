"""Holds the name of this dialect, as requests and frames carry it."""

from typing import Final

WIRE: Final = "openai_responses"
