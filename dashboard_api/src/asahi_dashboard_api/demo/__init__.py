"""A demonstration: a believable month of an invented company, lived through the real pipeline in a minute or two."""
