"""The parts of the emitter: what describes a swap, what tells of it, and the desk that writes its notifications."""
