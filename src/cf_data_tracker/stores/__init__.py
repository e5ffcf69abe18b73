"""The stores: S3, and its twin in memory. Each passes the contract in `tests/test_store_contract.py`."""
