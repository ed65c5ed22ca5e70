"""What it means: from a post to an assessment."""

import os

# Libraries that models run on tell their makers how they are used, unless they are told before they
# are loaded: ONNX Runtime over HTTPS, with a number for this machine that it keeps in the home folder.
# What is read here is nobody's business, so neither is that it is.
os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")
