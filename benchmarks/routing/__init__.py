"""What a router is worth on answers that were graded: quality kept against the share of calls to the strong model."""
