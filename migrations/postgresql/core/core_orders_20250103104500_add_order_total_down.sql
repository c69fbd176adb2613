DROP TRIGGER order_lines_add_up ON order_lines;
DROP FUNCTION order_add_up();
ALTER TABLE orders DROP COLUMN total;
