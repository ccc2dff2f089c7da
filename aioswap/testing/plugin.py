"""The pytest plugin. It is imported at each start of pytest, of every project beside which aioswap is installed."""
