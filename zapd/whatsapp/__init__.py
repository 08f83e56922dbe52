"""Accounts and the wires below them."""
