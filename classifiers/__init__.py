"""What it means: from a post to an assessment."""
