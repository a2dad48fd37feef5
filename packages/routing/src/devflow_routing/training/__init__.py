"""How the shipped classifier is trained and judged; needed by nobody who only routes."""
