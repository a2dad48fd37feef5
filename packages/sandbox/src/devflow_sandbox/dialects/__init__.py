"""The three ways of asking for a reply, each reading a body and writing a reply."""
