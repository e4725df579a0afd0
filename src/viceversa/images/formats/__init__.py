"""A reader for each format, and one writer for all: numbers as they are, or a refusal."""
