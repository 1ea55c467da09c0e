"""Douyin shop (抖店)."""
