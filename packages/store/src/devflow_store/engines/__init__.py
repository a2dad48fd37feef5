"""The two databases behind one interface, and which of them a URL means."""
