-- Built without keeping anybody from writing, which no transaction can do. Outside of one the script names the schema
-- itself.
-- bfm-tags: area=sales, kind=index
-- bfm-depends: create_orders
-- bfm-transaction: off
-- bfm-lock-timeout: 2s
-- bfm-statement-timeout: 30m

CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_user_placed_idx ON {{.Schema}}.orders (user_id, placed_at DESC);

CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_open_idx ON {{.Schema}}.orders (created_at)
WHERE status IN ('draft', 'placed');
