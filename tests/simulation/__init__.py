"""Whole servers in memory, under a virtual clock and a seeded scheduler (`docs/testing.md`, "The simulation")."""
