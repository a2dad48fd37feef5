"""Asks questions and reads replies in each dialect, as its clients do."""

from devflow_cli.conformance.speech.chat import ChatSpeech
from devflow_cli.conformance.speech.inquiry import HeardCall, Inquiry, Speech, Utterance
from devflow_cli.conformance.speech.messages import MessagesSpeech
from devflow_cli.conformance.speech.responses import ResponsesSpeech

__all__ = [
    "ChatSpeech",
    "HeardCall",
    "Inquiry",
    "MessagesSpeech",
    "ResponsesSpeech",
    "Speech",
    "Utterance",
]
