-- One row per served request. Column names are quoted: many plain words are keywords here.
-- bfm-tags: area=metrics, env=all

CREATE TABLE IF NOT EXISTS "requests" (
    "ts" TIMESTAMP(3) TIME INDEX,
    "host" STRING,
    "route" STRING,
    "code" INT32,
    "duration_ms" FLOAT64,
    PRIMARY KEY ("host", "route")
)
WITH (ttl = '30d');
