"""One opener for each file format: header first, pixels on demand, or a refusal."""
