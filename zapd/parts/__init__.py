"""The builders of the composition root, one file an area. `app.py` calls them in order; nothing else may build."""
