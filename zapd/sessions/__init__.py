"""Connections: what is stored of each, its life, and what messages ask of it."""
