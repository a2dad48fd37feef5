"""Values, errors, ports and wire formats that every DevFlow package shares."""
