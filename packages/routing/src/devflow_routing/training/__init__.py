"""Learns tables from recorded answers, and judges a router by them; numpy only."""
