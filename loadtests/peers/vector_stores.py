"""One vector store on the vectors in a folder: `vector_stores.py NAME FOLDER` prints JSON.

Runs in an interpreter that has the store; only what it needs anyway is imported.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

SMALL = 10_000
"""What a store is given that scans in Python."""


def sqlite_vec(folder, vectors):
    import apsw
    import sqlite_vec as extension

    connection = apsw.Connection(str(folder / "peer.db"))
    connection.enable_load_extension(True)
    connection.load_extension(extension.loadable_path())
    connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(e float[{vectors.shape[1]}])")
    with connection:
        connection.executemany(
            "INSERT INTO v (rowid, e) VALUES (?, ?)",
            ((n, vector.tobytes()) for n, vector in enumerate(vectors)),
        )
    query = "SELECT rowid FROM v WHERE e MATCH ? AND k = 10 ORDER BY distance"
    return lambda q: [row[0] for row in connection.execute(query, (q.tobytes(),))]


def lancedb(folder, vectors):
    import lancedb as lance
    import pyarrow as pa

    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.table({"id": pa.array(range(len(vectors))), "vector": flat})
    opened = lance.connect(str(folder / "lance")).create_table("v", table)

    def search(query):
        found = opened.search(query).metric("cosine").limit(10).select(["id"]).to_arrow()
        return found["id"].to_pylist()

    return search


def qdrant_local(_, vectors):
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    params = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("v", vectors_config=params)
    client.upload_collection("v", vectors=vectors, ids=list(range(len(vectors))))
    return lambda q: [p.id for p in client.query_points("v", query=q.tolist(), limit=10).points]


def chroma(folder, vectors):
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"))
    collection = client.create_collection("vectors", metadata={"hnsw:space": "cosine"})
    for start in range(0, len(vectors), 5_000):
        part = vectors[start : start + 5_000]
        collection.add(ids=[str(start + n) for n in range(len(part))], embeddings=part.tolist())

    def search(query):
        return [int(one) for one in collection.query([query.tolist()], n_results=10)["ids"][0]]

    return search


STORES = {
    "sqlite-vec": sqlite_vec,
    "lancedb": lancedb,
    "qdrant-local": qdrant_local,
    "chroma": chroma,
}


def main(name, folder):
    folder = Path(folder)
    vectors = np.load(folder / "vectors.npy")
    if name == "qdrant-local":
        vectors = vectors[:SMALL]
    queries = np.load(folder / "queries.npy")
    started = time.perf_counter()
    search = STORES[name](folder, vectors)
    build_s = time.perf_counter() - started
    search(queries[0])
    seconds, hits = [], 0
    for query in queries:
        started = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - started)
        hits += len(set(found) & set(np.argsort(-(vectors @ query))[:10].tolist()))
    seconds.sort()
    print(
        json.dumps(
            {
                "peer": name,
                "vectors": len(vectors),
                "build_s": round(build_s, 1),
                "p50_ms": round(seconds[len(seconds) // 2] * 1e3, 2),
                "p99_ms": round(seconds[int(len(seconds) * 0.99)] * 1e3, 2),
                "recall_at_10": round(hits / len(queries) / 10, 4),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
