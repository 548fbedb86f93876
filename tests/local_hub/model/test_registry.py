"""Repositories by type and id."""

from mat_vis_hub.local_hub.model.archive import Archive
from mat_vis_hub.local_hub.model.registry import Registry
from mat_vis_hub.local_hub.model.repository import Repo


def test_type_and_id_identify_a_repository():
    registry = Registry()
    model, dataset = Repo("model", "you/x", 0.0), Repo("dataset", "you/x", 0.0)
    registry.add(model)
    registry.add(dataset)
    assert registry.get("model", "you/x") is model
    assert registry.get("dataset", "you/x") is dataset
    assert registry.get("space", "you/x") is None


def test_ids_that_differ_in_case_are_the_same_repository(tmp_path):
    registry = Registry(Archive(tmp_path))
    repo = Repo("model", "you/Textures", 0.0)
    registry.add(repo)
    repo.save()
    assert registry.get("model", "YOU/textures") is repo
    assert Registry(Archive(tmp_path)).get("model", "you/TEXTURES").id == "you/Textures"
    registry.move(repo, "you/textures")
    assert [repo.id for repo in registry.all("model")] == ["you/textures"]
    registry.remove(registry.get("model", "You/Textures"))
    assert registry.all("model") == []


def test_repositories_are_listed_by_id():
    registry = Registry()
    for repo_id in ("you/b", "them/c", "you/a"):
        registry.add(Repo("model", repo_id, 0.0))
    assert [repo.id for repo in registry.all("model")] == ["them/c", "you/a", "you/b"]
    assert registry.all("dataset") == []


def test_a_moved_repository_has_its_new_id_alone():
    registry = Registry()
    repo = Repo("model", "you/old", 0.0)
    registry.add(repo)
    registry.move(repo, "them/new")
    assert registry.get("model", "you/old") is None
    assert registry.get("model", "them/new") is repo
    assert repo.namespace == "them"


def test_an_archive_keeps_what_a_registry_did(tmp_path):
    registry = Registry(Archive(tmp_path))
    for name in ("kept", "moved", "removed"):
        repo = Repo("model", f"you/{name}", 0.0)
        registry.add(repo)
        repo.save()
    registry.move(registry.get("model", "you/moved"), "them/moved")
    registry.remove(registry.get("model", "you/removed"))
    assert [repo.id for repo in Registry(Archive(tmp_path)).all("model")] == ["them/moved", "you/kept"]
