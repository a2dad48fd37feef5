"""Renders a report as a self-contained HTML page."""
