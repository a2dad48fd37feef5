"""What the store asks of a database, and the tables it makes there."""
