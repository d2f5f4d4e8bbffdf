import pytest

from scalecli.storage.cache import cached_text, seal, sealed


def damaged(content):
    """What can become of a file: cut short, zeroed, one bit of another value, emptied, longer."""
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    return {
        "truncated": content[: len(content) // 2],
        "zeroed": bytes(len(content)),
        "flipped": bytes(flipped),
        "emptied": b"",
        "longer": content + b"\0",
    }


@pytest.mark.parametrize("suffix", [".npy", ".seal"])
@pytest.mark.parametrize("damage", damaged(b"0"))
def test_what_is_not_as_it_was_sealed_is_not_believed(tmp_path, suffix, damage):
    file, said = tmp_path / "tokens.npy", []
    assert sealed(file, said.append) is None and not said
    file.write_bytes(b"content")
    seal(file, {"tokens": 7, "remarks": ["ä"]})
    assert sealed(file, said.append) == {"tokens": 7, "remarks": ["ä"]} and not said
    other = file.with_suffix(suffix)
    other.write_bytes(damaged(other.read_bytes())[damage])
    assert sealed(file, said.append) is None
    assert said == [f"{file}: damaged, unfinished or from another version of scalecli; made anew"]


@pytest.mark.parametrize("gone", [".npy", ".seal"])
def test_half_of_a_pair_is_nothing(tmp_path, gone):
    file = tmp_path / "tokens.npy"
    file.write_bytes(b"content")
    seal(file, {})
    file.with_suffix(gone).unlink()
    assert sealed(file, lambda message: None) is None


def test_another_format_is_made_anew(tmp_path, monkeypatch):
    file = tmp_path / "tokens.npy"
    file.write_bytes(b"content")
    seal(file, {})
    monkeypatch.setattr("scalecli.storage.cache._FORMAT", 2)
    assert sealed(file, lambda message: None) is None


def test_a_text_is_made_once_and_where_it_cannot_be_kept_each_time(tmp_path):
    made, said = [], []

    def make():
        made.append("text")
        return "text"

    assert [cached_text(tmp_path / "a.json", make, said.append) for _ in range(2)] == ["text"] * 2
    assert (len(made), said) == (1, [])
    (tmp_path / "file").write_text("")
    assert cached_text(tmp_path / "file/a.json", make, said.append) == "text"
    assert len(made) == 2 and "going on without it" in said[0]
