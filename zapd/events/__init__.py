"""The event hub: what other systems tell zapd, and what it does about it."""
