"""Other people's packages on the same task; each file runs in an environment that has its package, not this project."""
