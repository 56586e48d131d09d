"""The web client under load, with figures. Only `make web-load` runs it; it takes some minutes."""
