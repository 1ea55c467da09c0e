"""Whose access a connection holds: what an authorisation leaves beside the answers of its form."""

from __future__ import annotations

from typing import Final

# Keys of a connection's configuration: the platform's own number of the shop, and its name there.
SHOP_ID: Final = "authorised_shop_id"
SHOP_NAME: Final = "authorised_shop_name"
