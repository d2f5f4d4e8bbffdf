from tests.buckets import emulator, storage_server

__all__ = ["emulator", "storage_server"]
