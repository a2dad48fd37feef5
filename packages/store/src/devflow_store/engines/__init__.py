"""The two databases behind one interface, and the choice between them by URL."""
