"""The page: server-side HTML, one style sheet and one script; no build step, nothing from other hosts."""
