"""What runs in a worker process: the only code that touches neonize. Imports nothing heavy of zapd's own."""
