"""In-memory stand-ins for the ports, usable under a virtual clock."""
