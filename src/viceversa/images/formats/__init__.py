"""A function for each file format that opens a file: header first, pixels on demand."""
