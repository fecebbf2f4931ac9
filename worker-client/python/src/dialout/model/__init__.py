"""A model: its signature as a schema, its input as Python's values, its results as JSON and files."""
