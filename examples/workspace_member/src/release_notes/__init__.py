"""Release notes from commit subjects."""

from release_notes.notes import Notes, write_notes

__all__ = ["Notes", "write_notes"]
