"""Side-by-side timings and errors; see docs/benchmarks.md. Of all this, the tests run what the limits compute."""
