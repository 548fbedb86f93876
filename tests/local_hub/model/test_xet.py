"""Xet hashes of files."""

from mat_vis_hub.local_hub.model.xet import XetIndex

A, B, SHA = "a" * 64, "b" * 64, "1" * 64


def test_hashes_are_found_in_both_directions_and_survive_a_restart(tmp_path):
    XetIndex(tmp_path / "xet").add(A, SHA)
    (tmp_path / "xet" / f"{B}.unfinished").write_text("11")  # a crash
    index = XetIndex(tmp_path / "xet")
    assert (index.hash_of(SHA), index.sha256_of(A)) == (A, SHA)
    assert index.sha256_of(B) is None
    assert index.hash_of("2" * 64) is None


def test_a_hash_stays_with_its_first_file(tmp_path):
    index = XetIndex(tmp_path / "xet")
    index.add(A, SHA)
    index.add(A, "2" * 64)
    assert index.sha256_of(A) == SHA
    assert index.hash_of("2" * 64) is None
