"""The semantic cache on streams whose truth is known: how much it serves, and how often wrongly."""
