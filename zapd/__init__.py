"""zapd: one daemon that talks to customers on WhatsApp and moves events between systems."""

__version__ = "0.1.0"
