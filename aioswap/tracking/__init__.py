"""The parts of a tracker: what is waited for, who is told, who listens."""
