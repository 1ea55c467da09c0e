"""Warehouses: Qimen and what stands behind it."""
