"""Side-by-side timings and errors; see docs/benchmarks.md. Never run by the tests, except for the limits' correctness."""
