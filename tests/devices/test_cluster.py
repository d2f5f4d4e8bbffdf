"""TF_CONFIG as Kubeflow, Vertex AI and people write it: a cluster is as large as it says, or one line says why not."""

import json

import pytest

from scalecli.devices import Request, open_devices
from scalecli.devices.cluster import Cluster, environment_cluster
from scalecli.errors import ConfigurationError

CHIEF, ONE, TWO = "localhost:23451", "localhost:23452", "localhost:23453"


def config(cluster, kind="worker", index=0, **more):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, **more})


@pytest.mark.parametrize(
    ("text", "cluster"),
    [
        ("", Cluster()),
        ("{}", Cluster()),
        ('{"environment": "cloud"}', Cluster()),
        (config({}), Cluster()),
        (config({"chief": [CHIEF]}, "chief", environment="cloud", job="{}"), Cluster((CHIEF,))),
        (config({"worker": [ONE], "ps": [], "evaluator": []}), Cluster((ONE,))),
        (config({"worker": [ONE, TWO]}, index="1"), Cluster((ONE, TWO), 1)),
        (config({"worker": [ONE, TWO], "chief": [CHIEF]}, "chief"), Cluster((CHIEF, ONE, TWO), 0)),
        (config({"worker": [ONE, TWO], "chief": [CHIEF]}, index=1), Cluster((CHIEF, ONE, TWO), 2)),
        (config({"master": [CHIEF], "worker": [ONE]}, "master"), Cluster((CHIEF, ONE), 0)),
        (config({"master": [CHIEF], "worker": [ONE]}), Cluster((CHIEF, ONE), 1)),
        (config({"chief": [CHIEF], "worker": [ONE], "evaluator": [TWO]}), Cluster((CHIEF, ONE), 1)),
    ],
)
def test_a_cluster_is_all_workers_the_chief_first(monkeypatch, text, cluster):
    monkeypatch.setenv("TF_CONFIG", text)
    assert environment_cluster() == cluster


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected {'cluster'"),
        ("[]", "expected {'cluster'"),
        ('{"cluster": {"worker": ["a:1"]}}', "expected {'cluster'"),
        ('{"sparseCluster": {"worker": {"0": "a:1"}}, "task": {"type": "worker", "index": 0}}', "expected {'cluster'"),
        (config({"worker": ONE}), "expected {'cluster'"),
        (config({"worker": [ONE]}, index=None), "expected {'cluster'"),
        (config({"worker": [ONE, TWO]}, index=2), "worker 2 is none of its 2 workers"),
        (config({"worker": [ONE, TWO]}, index=-1), "worker -1 is none of its 2 workers"),
        (config({"worker": [ONE, TWO]}, "chief"), "chief 0 is none of its 2 workers"),
        (config({"worker": [ONE, ONE]}), "an address stands there twice"),
        (config({"chief": [CHIEF, ONE]}, "chief"), "several chiefs"),
        (config({"chief": [CHIEF], "master": [ONE]}, "chief"), "several chiefs"),
        (config({"worker": [ONE], "trainer": [TWO]}), "tasks of type 'trainer'"),
        (config({"chief": [CHIEF], "worker": [ONE]}, "evaluator"), "validates while it trains, without an evaluator"),
        (config({"chief": [CHIEF], "ps": [ONE]}, "ps"), "without parameter servers"),
        (config({"chief": [CHIEF], "ps": [ONE]}, "chief"), "without parameter servers"),
    ],
)
def test_what_is_no_cluster_of_workers_is_one_line(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigurationError) as caught:
        environment_cluster()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_no_strategy_makes_a_cluster_smaller(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"chief": [CHIEF], "worker": [ONE]}, "chief"))
    for request in (Request("one"), Request("mirrored"), Request("tpu"), Request(tpu="name")):
        with pytest.raises(ConfigurationError, match=r"TF_CONFIG names 2 workers, and strategy .* joins 1 of them"):
            open_devices(request)
    monkeypatch.setenv("TF_CONFIG", config({"chief": [CHIEF]}, "chief"))
    assert open_devices(Request()).strategy.kind == "one"
