"""Taobao and Tmall (TOP, the Taobao Open Platform)."""
