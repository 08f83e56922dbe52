"""HTTP: one file per resource, every route in `routes/`."""
