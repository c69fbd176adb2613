-- Keeps the total of an order in the order itself, so that lists need not add up lines.
-- bfm-tags: area=sales
-- bfm-requires: connection=core schema=core target=20250102093000 type=version table=order_lines

ALTER TABLE orders ADD COLUMN total numeric(14, 2) NOT NULL DEFAULT 0;

CREATE FUNCTION order_add_up() RETURNS trigger
LANGUAGE plpgsql
SET search_path = {{.Schema}}
AS $body$
DECLARE
    changed bigint := coalesce(NEW.order_id, OLD.order_id);
BEGIN
    -- One statement; the lock on the order keeps two of them from losing each other's lines.
    UPDATE orders
    SET total = (SELECT coalesce(sum(quantity * unit_price), 0) FROM order_lines WHERE order_id = changed)
    WHERE id = changed;
    RETURN NULL;
END;
$body$;

CREATE TRIGGER order_lines_add_up
AFTER INSERT OR UPDATE OR DELETE ON order_lines
FOR EACH ROW EXECUTE FUNCTION order_add_up();

UPDATE orders
SET total = sums.total
FROM (SELECT order_id, sum(quantity * unit_price) AS total FROM order_lines GROUP BY order_id) AS sums
WHERE orders.id = sums.order_id;
