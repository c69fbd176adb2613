-- bfm-tags: area=metrics
-- bfm-schema: metrics
-- bfm-table: requests
-- bfm-depends: create_requests

ALTER TABLE "requests" ADD COLUMN IF NOT EXISTS "region" STRING DEFAULT 'unknown';

CREATE TABLE IF NOT EXISTS "request_errors" (
    "ts" TIMESTAMP(3) TIME INDEX,
    "host" STRING,
    "text" STRING,
    PRIMARY KEY ("host")
)
WITH (ttl = '7d', append_mode = 'true');
