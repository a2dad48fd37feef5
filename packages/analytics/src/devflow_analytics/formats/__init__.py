"""Writes a report as text: figures for people, tables, CSV and Markdown."""
