"""The `aioswap` command."""
