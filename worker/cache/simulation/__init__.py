"""The cache without the service: prompts through the same extraction, look-up, plans and policies, in memory."""
