"""What the sandbox sells: its models, their providers, and what a call costs."""
