"""Adapters for programs that already use another library: each module imports that one only."""
