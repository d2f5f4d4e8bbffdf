from tests.data.conftest import vocabulary  # noqa: F401 (a fixture)
