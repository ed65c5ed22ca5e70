"""The bodies of the commands: what ``merkwacht X`` does, without the command line around it."""
