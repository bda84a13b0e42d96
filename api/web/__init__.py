"""The page: HTML made here, one style sheet and one script; no build step, nothing from elsewhere."""
