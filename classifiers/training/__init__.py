"""Training of the embedded model. Not needed at run time; extra ``train``."""
