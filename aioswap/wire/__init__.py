"""What the bytes mean: payloads, notifications, the envelope. Pure: no I/O and no clock."""
