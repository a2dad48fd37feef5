"""The HTTP gateway, and the one place where DevFlow is wired together."""
