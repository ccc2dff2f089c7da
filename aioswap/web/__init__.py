"""Status over HTTP: swaps as JSON, as server-sent events and as a page, probes and metrics. Read-only. Extra `web`."""
