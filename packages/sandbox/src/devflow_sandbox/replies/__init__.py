"""Makes replies: from a script, or composed."""
