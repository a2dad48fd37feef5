"""Transcripts as Claude Code writes them: where they are, their rows, the active branch."""
