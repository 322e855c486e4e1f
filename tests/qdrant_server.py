"""Qdrant over HTTP on loopback, for tests: its real engine as a library behind its REST interface.

No package registry carries the server, but PyPI has the engine. This process speaks that part of
the interface which our client uses, and leaves everything that matters to the engine: conditions,
orders, nearness, words. `python -m tests.qdrant_server FOLDER PORT [KEY]` serves.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import qdrant_edge as engine
from aiohttp import web

REFUSED = 401


def read_filter(given: dict | None) -> engine.Filter | None:
    if not given:
        return None
    parts = {
        name: [read_condition(one) for one in given.get(name) or ()]
        for name in ("must", "should", "must_not")
    }
    return engine.Filter(**{name: found for name, found in parts.items() if found})


def read_condition(given: dict) -> Any:
    if "has_id" in given:
        return engine.HasIdCondition(set(given["has_id"]))
    if given.get("range") is not None:
        return engine.FieldCondition(given["key"], range=engine.RangeFloat(**given["range"]))
    match = given["match"]
    found = engine.MatchAny(match["any"]) if "any" in match else engine.MatchValue(match["value"])
    return engine.FieldCondition(given["key"], match=found)


def read_order(given: dict | None) -> engine.OrderBy | None:
    if given is None:
        return None
    way = engine.Direction.Desc if given.get("direction") == "desc" else engine.Direction.Asc
    return engine.OrderBy(given["key"], direction=way)


def read_vector(given: Any) -> Any:
    if isinstance(given, dict) and "indices" in given:
        return engine.SparseVector(given["indices"], given["values"])
    return given


def show_vector(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: show_vector(one) for name, one in found.items()}
    if isinstance(found, engine.SparseVector):
        return {"indices": found.indices, "values": found.values}
    return found


def show_point(point: Any) -> dict:
    shown = {"id": point.id, "payload": point.payload, "vector": show_vector(point.vector)}
    return shown | ({"score": point.score, "version": 0} if hasattr(point, "score") else {})


class Shard:
    """One collection. Methods run in its one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard: engine.EdgeShard | None = None
        if (folder / "segments").exists():
            self._shard = engine.EdgeShard.load(str(folder))

    def empty(self) -> None:
        if self._shard is not None:
            self.delete({"filter": {}})

    def exists(self) -> dict:
        return {"exists": self._shard is not None}

    @property
    def shard(self) -> engine.EdgeShard:
        assert self._shard is not None, "the collection does not exist"
        return self._shard

    def create(self, body: dict) -> bool:
        assert not body.get("vectors"), "vectors are added later"
        sparse = {
            name: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)
            for name in body["sparse_vectors"]
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shard = engine.EdgeShard.create(
            str(self._folder), engine.EdgeConfig(sparse_vectors=sparse)
        )
        return True

    def info(self) -> dict:
        vectors = {
            name.name: {"size": 1, "distance": "Cosine"} for name in self._folder.glob("dense/*")
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {"vectors": vectors},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
            },
            "payload_schema": {
                name: {"data_type": str(one.data_type).rpartition(".")[2].lower(), "points": 0}
                for name, one in self.shard.info().payload_schema.items()
            },
        }

    def index(self, body: dict) -> dict:
        schema = body["field_schema"]
        kind = schema if isinstance(schema, str) else schema["type"]
        found = getattr(engine.PayloadSchemaType, kind.capitalize())
        self.shard.update(engine.UpdateOperation.create_field_index(body["field_name"], found))
        return self._done()

    def add_vector(self, name: str, body: dict) -> dict:
        size = body["dense"]["size"]
        self.shard.update(
            engine.UpdateOperation.create_dense_vector(name, size, engine.Distance.Cosine)
        )
        (self._folder / "dense").mkdir(exist_ok=True)
        (self._folder / "dense" / name).touch()
        return self._done()

    @staticmethod
    def _done() -> dict:
        return {"operation_id": 0, "status": "completed"}

    def batch(self, body: dict) -> list:
        for operation in body["operations"]:
            ((kind, given),) = operation.items()
            getattr(self, f"_{kind}")(given)
        return [self._done() for _ in body["operations"]]

    def _upsert(self, given: dict) -> None:
        points = [
            engine.Point(
                one["id"],
                {name: read_vector(vector) for name, vector in one["vector"].items()},
                one["payload"],
            )
            for one in given["points"]
        ]
        self.shard.update(engine.UpdateOperation.upsert_points(points))

    def _set_payload(self, given: dict) -> None:
        make = engine.UpdateOperation
        if given.get("points") is not None:
            self.shard.update(make.set_payload(given["points"], given["payload"]))
        else:
            chosen = read_filter(given["filter"])
            self.shard.update(make.set_payload_by_filter(chosen, given["payload"]))

    def _update_vectors(self, given: dict) -> None:
        points = [engine.PointVectors(one["id"], one["vector"]) for one in given["points"]]
        self.shard.update(engine.UpdateOperation.update_vectors(points))

    def delete(self, body: dict) -> dict:
        chosen = read_filter(body["filter"]) or engine.Filter()
        self.shard.update(engine.UpdateOperation.delete_points_by_filter(chosen))
        return self._done()

    def retrieve(self, body: dict) -> list:
        found = self.shard.retrieve(
            body["ids"], body.get("with_payload", True), body.get("with_vector", False)
        )
        return [show_point(one) for one in found]

    def scroll(self, body: dict) -> dict:
        found, following = self.shard.scroll(
            engine.ScrollRequest(
                offset=body.get("offset"),
                limit=body["limit"],
                filter=read_filter(body.get("filter")),
                with_payload=True,
                order_by=read_order(body.get("order_by")),
            )
        )
        return {"points": [show_point(one) for one in found], "next_page_offset": following}

    def query(self, body: dict) -> dict:
        asked = body["query"]
        if isinstance(asked, dict) and "order_by" in asked:
            query = read_order(asked["order_by"])
        else:
            nearest = (
                asked.get("nearest") if isinstance(asked, dict) and "nearest" in asked else asked
            )
            query = engine.Query.Nearest(read_vector(nearest), body.get("using"))
        found = self.shard.query(
            engine.QueryRequest(
                body["limit"],
                query=query,
                filter=read_filter(body.get("filter")),
                with_payload=bool(body.get("with_payload")),
            )
        )
        return {"points": [show_point(one) for one in found]}

    def queries(self, body: dict) -> list:
        return [self.query(one) for one in body["searches"]]

    def count(self, body: dict) -> dict:
        chosen = read_filter(body.get("filter"))
        return {"count": self.shard.count(engine.CountRequest(exact=True, filter=chosen))}

    def facet(self, body: dict) -> dict:
        found = self.shard.facet(
            engine.FacetRequest(
                body["key"], limit=body["limit"], exact=True, filter=read_filter(body.get("filter"))
            )
        )
        return {"hits": [{"value": hit.value, "count": hit.count} for hit in found.hits]}


def qdrant_app(
    folder: Path, key: str | None = None, shards: dict[str, Shard] | None = None
) -> web.Application:
    """Serve the collections in a folder; those in `shards` are open already."""
    shards = {} if shards is None else shards
    thread = ThreadPoolExecutor(1)

    def answer(work: Callable[[Shard, dict, web.Request], Any]):
        async def handle(request: web.Request) -> web.Response:
            if key is not None and request.headers.get("api-key") != key:
                return web.json_response({"status": {"error": "who are you?"}}, status=REFUSED)
            body = await request.json() if request.can_read_body else {}
            name = request.match_info["name"]
            if name not in shards:
                shards[name] = Shard(folder / name)
            shard = shards[name]
            done = asyncio.get_running_loop().run_in_executor(
                thread, lambda: work(shard, body, request)
            )
            return web.json_response({"result": await done, "status": "ok", "time": 0.0})

        return handle

    app = web.Application(client_max_size=64_000_000)
    one = "/collections/{name}"
    app.add_routes(
        [
            web.get(f"{one}/exists", answer(lambda shard, _, __: shard.exists())),
            web.get(one, answer(lambda shard, _, __: shard.info())),
            web.put(one, answer(lambda shard, body, _: shard.create(body))),
            web.put(f"{one}/index", answer(lambda shard, body, _: shard.index(body))),
            web.put(
                one + "/vectors/{vector}",
                answer(lambda shard, body, r: shard.add_vector(r.match_info["vector"], body)),
            ),
            web.post(f"{one}/points/batch", answer(lambda shard, body, _: shard.batch(body))),
            web.post(f"{one}/points/delete", answer(lambda shard, body, _: shard.delete(body))),
            web.post(f"{one}/points/scroll", answer(lambda shard, body, _: shard.scroll(body))),
            web.post(f"{one}/points/query", answer(lambda shard, body, _: shard.query(body))),
            web.post(
                f"{one}/points/query/batch", answer(lambda shard, body, _: shard.queries(body))
            ),
            web.post(f"{one}/points/count", answer(lambda shard, body, _: shard.count(body))),
            web.post(f"{one}/points", answer(lambda shard, body, _: shard.retrieve(body))),
            web.post(f"{one}/facet", answer(lambda shard, body, _: shard.facet(body))),
        ]
    )
    return app


if __name__ == "__main__":
    web.run_app(
        qdrant_app(Path(sys.argv[1]), sys.argv[3] if len(sys.argv) > 3 else None),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        print=None,
    )
