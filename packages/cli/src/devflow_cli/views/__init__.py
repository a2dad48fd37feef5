"""How results are shown at a terminal."""
