"""Whole servers in memory, under a virtual clock and a seeded scheduler (`docs/internals/testing.md`, "The simulation")."""
