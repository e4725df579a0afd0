"""Training: one optimizer step, the loop, checkpoints, the log and what is monitored."""
