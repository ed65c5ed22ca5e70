"""Who hears of it: from signals to incidents to notifications."""
