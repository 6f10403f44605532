"""The figures of the server and of its workers are added up, sample by sample."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from control_plane.metrics.aggregate import Together

NAME = "cellway_cache_hits"
HELP = "Questions that a cache answered"


def count_in_file(directory: Path, worker: int, counts: dict[str, float]) -> None:
    """Count as a worker does: in a file of its own."""
    file = MmapedDict(str(directory / f"counter_{worker}.db"))
    for cache, number in counts.items():
        key = mmap_key(NAME, f"{NAME}_total", ["cache"], [cache], HELP)
        file.write_value(key, number, 0.0)
    file.close()


def collected(own: CollectorRegistry, directory: Path | None) -> dict[tuple[str, str], float]:
    (metric,) = Together(own, directory).collect()
    assert (metric.name, metric.documentation, metric.type) == (NAME, HELP, "counter")
    return {(one.name, one.labels["cache"]): one.value for one in metric.samples}


def test_each_sample_is_the_sum_over_all_processes(tmp_path: Path) -> None:
    own = CollectorRegistry()
    counter = Counter(NAME, HELP, ["cache"], registry=own)
    counter.labels("edge").inc(2)
    counter.labels("redis").inc(1)
    assert collected(own, None) == {(f"{NAME}_total", "edge"): 2, (f"{NAME}_total", "redis"): 1}
    count_in_file(tmp_path, 0, {"edge": 5})
    count_in_file(tmp_path, 1, {"edge": 7, "classifier": 3})
    assert collected(own, tmp_path) == {
        (f"{NAME}_total", "edge"): 14,
        (f"{NAME}_total", "redis"): 1,
        (f"{NAME}_total", "classifier"): 3,
    }
