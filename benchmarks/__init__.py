"""Side-by-side timings; see docs/benchmarks.md. Never run by the tests, except for the limit's correctness."""
