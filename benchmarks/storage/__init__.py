"""Storage at a million events."""
