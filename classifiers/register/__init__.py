"""The register of secrets: what must not be made public, known by keyed fingerprints only.

A text becomes words (:mod:`classifiers.register.words`), words become keyed hashes
(:mod:`classifiers.register.fingerprints`), hashes of a post are looked up among those that were
registered (:mod:`classifiers.register.index`), and the detector says what was found
(:mod:`classifiers.register.detector`). Files are read in :mod:`classifiers.register.readers`.
Nothing here stores anything: the shelf of the store does. Why so:
docs/decisions/0009-register-of-secrets.md.
"""
