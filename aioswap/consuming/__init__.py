"""What a consumer does with a delivery: the parts of `aioswap.consumer`, each with one idea."""
