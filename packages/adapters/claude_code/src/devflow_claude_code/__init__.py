"""Claude Code sessions: read, understood, handed off and written back."""
