"""The queue engine on Redis streams. The only package that imports redis."""
