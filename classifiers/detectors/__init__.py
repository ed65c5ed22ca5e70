"""Evidence of leaks: small detectors, each with its own examples."""
