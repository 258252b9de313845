"""The event engine, described once: what happens at and between events, for every target to print and run."""
