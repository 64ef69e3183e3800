"""The statements of the store. All they work on is given as parameters."""

from __future__ import annotations

#: Several processes may start together.
LOCK = "SELECT pg_advisory_xact_lock(732846511)"
EXTENSION = "CREATE EXTENSION IF NOT EXISTS vector"
#: A type's dimension is no parameter of a statement, so the next one reads it from here, as a number.
DIMENSION = "SELECT set_config('asahi.dimension', $1::int::text, true)"
TABLE = """
DO $$ BEGIN
  EXECUTE format(
    'CREATE TABLE IF NOT EXISTS asahi_vectors ('
    'namespace text NOT NULL, key text NOT NULL, embedding vector(%s) NOT NULL, payload bytea NOT NULL, '
    'PRIMARY KEY (namespace, key))', current_setting('asahi.dimension')::int);
END $$
"""
#: Tables of before have no such column.
USED = "ALTER TABLE asahi_vectors ADD COLUMN IF NOT EXISTS used timestamptz NOT NULL DEFAULT now()"
INDEX = """
CREATE INDEX IF NOT EXISTS asahi_vectors_embedding ON asahi_vectors USING hnsw (embedding vector_cosine_ops)
"""
#: What the table was made for, perhaps by another configuration.
KNOWN = """
SELECT atttypmod FROM pg_attribute WHERE attrelid = 'asahi_vectors'::regclass AND attname = 'embedding'
"""
#: On every connection: go on in the index until enough rows of the namespace are found.
ITERATE = "SET hnsw.iterative_scan = 'strict_order'"

UPSERT = """
INSERT INTO asahi_vectors (namespace, key, embedding, payload)
SELECT $1, given.key, given.embedding::vector, given.payload
FROM unnest($2::text[], $3::text[], $4::bytea[]) AS given (key, embedding, payload)
ON CONFLICT (namespace, key) DO UPDATE SET embedding = excluded.embedding, payload = excluded.payload,
  used = now()
"""
NEAREST = """
SELECT key, 1 - (embedding <=> $2::text::vector) AS score, payload FROM asahi_vectors
WHERE namespace = $1 ORDER BY embedding <=> $2::text::vector LIMIT $3
"""
DELETE = "DELETE FROM asahi_vectors WHERE namespace = $1 AND key = ANY($2::text[])"
DELETE_ALL = "DELETE FROM asahi_vectors WHERE namespace = $1"
COUNT = "SELECT count(*) FROM asahi_vectors WHERE namespace = $1"

PAGE = """
SELECT key, payload FROM asahi_vectors
WHERE namespace = $1 AND ($2::text IS NULL OR key < $2) ORDER BY key DESC LIMIT $3
"""
TOUCH = "UPDATE asahi_vectors SET used = now() WHERE namespace = $1 AND key = ANY($2::text[])"
OLDEST = "DELETE FROM asahi_vectors WHERE namespace = $1 AND key < $2"
#: What a row weighs beside its payload is given.
SIZES = """
SELECT count(*) AS entries, coalesce(sum(octet_length(payload) + $2::int), 0)::bigint AS size FROM asahi_vectors
WHERE namespace = $1
"""
TRIM = """
DELETE FROM asahi_vectors WHERE namespace = $1 AND key IN (
  SELECT key FROM (
    SELECT key, row_number() OVER recent AS place, sum(octet_length(payload) + $2::int) OVER recent AS total
    FROM asahi_vectors WHERE namespace = $1 WINDOW recent AS (ORDER BY used DESC, key DESC)
  ) AS ranked WHERE place > $3::bigint OR total > $4::bigint)
"""
