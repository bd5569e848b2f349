"""The trainer: one job, in a process of its own."""
