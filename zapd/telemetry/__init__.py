"""What zapd tells about itself: logs, metrics, and the notes to systemd. Knows nothing of the rest of zapd."""
