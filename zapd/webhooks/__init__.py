"""Outbound, signed webhooks."""
