"""The ModelAdmins, one module per noun; importing them registers them."""

from frontend.admin import people, records, sources

__all__ = ["people", "records", "sources"]
