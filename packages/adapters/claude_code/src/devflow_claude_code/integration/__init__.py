"""Offers DevFlow inside Claude Code: hooks, status line, MCP tools, launcher."""
