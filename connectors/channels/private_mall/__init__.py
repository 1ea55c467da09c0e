"""The own mall: any private shop that speaks our JSON format (FORMAT.md)."""
