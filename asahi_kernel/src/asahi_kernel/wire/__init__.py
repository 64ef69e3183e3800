"""The strict JSON edge: each wire decodes a body into what is asked, and encodes an answer; nothing here does I/O."""
