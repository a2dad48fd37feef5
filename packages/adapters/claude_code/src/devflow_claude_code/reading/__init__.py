"""Reads the transcripts that Claude Code writes: their places, rows, active branch and cost."""
