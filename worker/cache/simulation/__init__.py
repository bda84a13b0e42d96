"""The cache without the service: runs prompts through its extraction, look-up, plans and policies, in memory."""
