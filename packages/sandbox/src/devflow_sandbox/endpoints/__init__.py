"""Everything but the replies: the catalogue, the account, other media, and the sandbox itself."""
