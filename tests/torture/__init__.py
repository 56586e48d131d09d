"""The crash suite: a real server, real hubs and real agents that are killed, and what must be true afterwards."""
