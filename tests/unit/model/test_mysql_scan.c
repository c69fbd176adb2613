/* MySQL's SQL: where statements end, what kind they are, and what is refused. */
#include "unit/model/registry_fixture.h"

#include "model/checksum.h"
#include "model/mysqlkind.h"
#include "model/sqlcheck.h"
#include "model/sqlscan.h"
#include "model/sqlsplit.h"

/* A text that was scanned and divided. */
struct divided {
    const char *text;
    struct sql_scan scan;
    struct arena arena;
    const struct sql_statement *statements;
    size_t count;
};

static void divide(struct divided *divided, const char *text)
{
    struct err err = {0};

    *divided = (struct divided){.text = text};
    sql_scan_init(&divided->scan);
    arena_init(&divided->arena);
    if (sql_scan_text(&divided->scan, text, strlen(text), SQL_MYSQL, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(sql_split(&divided->scan, text, strlen(text), &divided->arena,
                               &divided->statements, &divided->count),
                     0);
}

static void divided_free(struct divided *divided)
{
    arena_free(&divided->arena);
    sql_scan_free(&divided->scan);
}

/* The text is these statements, each followed by ';' in it; NULL ends them. */
static void assert_divided(const char *text, const char *const *pieces)
{
    struct divided divided;
    size_t n;

    divide(&divided, text);
    for (n = 0; pieces[n] != NULL; n++) {
        if (n >= divided.count)
            fail_msg("%s: only %zu statements", text, divided.count);
        if (divided.statements[n].end - divided.statements[n].start != strlen(pieces[n]) ||
            memcmp(text + divided.statements[n].start, pieces[n], strlen(pieces[n])) != 0)
            fail_msg("statement %zu is %.*s", n + 1,
                     (int)(divided.statements[n].end - divided.statements[n].start),
                     text + divided.statements[n].start);
    }
    if (n != divided.count)
        fail_msg("%s: %zu statements, not %zu", text, divided.count, n);
    divided_free(&divided);
}

#define PIECES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_tokens(void **state)
{
    (void)state;
    assert_divided("a; b;", PIECES("a", "b"));
    assert_divided(
        "SELECT 'a;\\';b', \"c;\\\";'\", `d;\\`, 'e'';', \"f\"\";\", `g``;`; h",
        PIECES("SELECT 'a;\\';b', \"c;\\\";'\", `d;\\`, 'e'';', \"f\"\";\", `g``;`", "h"));
    assert_divided("a -- x; y\n, b # z; '\n/* ; ' /* */ ; c--; d--1;-- e",
                   PIECES("a -- x; y\n, b", "c--", "d--1"));
    assert_divided("--\t;\na;--\n--", PIECES("a"));
    assert_divided("/*!40101 SET NAMES utf8 */; /*M!100100 SET @a=1 */;",
                   PIECES("/*!40101 SET NAMES utf8 */", "/*M!100100 SET @a=1 */"));
    assert_divided(
        "SELECT /*+ BKA(t;) */ 1; SELECT _utf8'a;', x'41', N';', @`;`, \\N, @a.b, @@c.d",
        PIECES("SELECT /*+ BKA(t;) */ 1", "SELECT _utf8'a;', x'41', N';', @`;`, \\N, @a.b, @@c.d"));
    assert_divided("\xc3\xa4; $a$; $b$;", PIECES("\xc3\xa4", "$a$", "$b$"));
}

/* Each is one statement, and one more stands behind it. */
static void test_bodies(void **state)
{
    static const char *const wholes[] = {
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
        "create definer=`a`@`b` procedure p(in a int, out b enum('x','y')) sql security invoker\n"
        "comment 'x' main: begin select case a when 1 then 2 else 3 end; set b = 'x'; end main",
        "CREATE OR REPLACE DEFINER = CURRENT_USER() FUNCTION f(a INT) RETURNS INT DETERMINISTIC\n"
        "IF a > 0 THEN RETURN 1; ELSEIF a < 0 THEN RETURN IF(a < -1, 2, 3); ELSE RETURN 4; END IF",
        "CREATE FUNCTION f(s VARCHAR(10) CHARACTER SET utf8) RETURNS SET('a','b')\n"
        "RETURN IF(s = 'a', CASE s WHEN 'b' THEN 1 END, REPEAT('x', 3))",
        "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW FOLLOWS u BEGIN SET NEW.a = 1; END",
        "CREATE TRIGGER t AFTER UPDATE ON x FOR EACH ROW SET @a = NEW.b",
        "CREATE TRIGGER IF NOT EXISTS t AFTER DELETE ON x FOR EACH ROW IF 1 THEN DELETE FROM y;\n"
        "DROP TEMPORARY TABLE IF EXISTS z; END IF",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS NOW() DO BEGIN DO SLEEP(1); END",
        "ALTER EVENT e DO BEGIN SELECT 1; END",
        "BEGIN NOT ATOMIC DECLARE a INT DEFAULT 1; SELECT a; END",
        "BEGIN NOT ATOMIC IF 1 THEN SELECT 1; END IF; END",
        "BEGIN NOT ATOMIC BEGIN NOT ATOMIC SELECT 1; END; SELECT NOT atomic, begin FROM t; END",
        "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR NOT FOUND, SQLSTATE VALUE '23000', "
        "1062 BEGIN SELECT 1; END; DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET @x = IF(1,2,3); "
        "DECLARE c CURSOR FOR SELECT 1; OPEN c; l: LOOP FETCH c INTO x; LEAVE l; END LOOP l; END",
        "CREATE PROCEDURE p() BEGIN WHILE a < CASE WHEN b THEN 1 ELSE 2 END DO SET a = a + 1; "
        "END WHILE; REPEAT SET a = a - 1; UNTIL a = CASE a WHEN 1 THEN 1 END END REPEAT; "
        "FOR i IN 1..10 DO INSERT INTO t(`end`) VALUES (i); END FOR; END",
        "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN BEGIN END; WHEN 2 THEN IF b THEN SELECT 1; "
        "END IF; ELSE SELECT CASE WHEN 1 THEN 2 ELSE IF(1,2,3) END; END CASE; END",
        "CREATE PROCEDURE p() BEGIN SELECT begin, end, t.end, loop_x FROM t; COMMIT; "
        "START TRANSACTION; XA BEGIN 'x'; END",
        "CREATE PROCEDURE p() BEGIN /* END; */ SELECT 'END;'; -- END;\n SELECT \"END;\"; END",
        "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; ELSE IF b THEN SELECT 2; END IF; END IF; "
        "END",
        "CREATE /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW "
        "BEGIN SET NEW.a = 1; END */",
        "IF EXISTS (SELECT 1) THEN SELECT 2; END IF",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE AGGREGATE FUNCTION f(x INT) RETURNS INT BEGIN LOOP FETCH GROUP NEXT ROW; END LOOP; "
        "END",
        "CREATE FUNCTION f RETURNS STRING SONAME 'f.so'",
        "CREATE TABLE `procedure` (begin INT, end INT)",
        "SELECT CASE WHEN begin THEN end END FROM t",
        "CREATE VIEW v AS SELECT IF(a, b, c) FROM t",
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wholes); i++) {
        snprintf(text, sizeof(text), "%s; SELECT 'behind';", wholes[i]);
        assert_divided(text, PIECES(wholes[i], "SELECT 'behind'"));
    }
}

static void assert_kind(const char *text, enum mysql_kind kind)
{
    struct divided divided;

    divide(&divided, text);
    assert_int_equal(divided.count, 1);
    if (divided.statements[0].kind != (unsigned)kind)
        fail_msg("%s: kind %u, not %u", text, divided.statements[0].kind, (unsigned)kind);
    divided_free(&divided);
}

static void test_kinds(void **state)
{
    static const struct {
        enum mysql_kind kind;
        const char *text;
    } cases[] = {
        {MYSQL_DML, "insert into t values (1)"},
        {MYSQL_DML, "(SELECT 1) UNION (SELECT 2)"},
        {MYSQL_DML, "WITH a AS (SELECT 1) SELECT * FROM a"},
        {MYSQL_DML, "LOAD DATA INFILE 'x' INTO TABLE t"},
        {MYSQL_DML, "ANALYZE UPDATE t SET a = a + 1"},
        {MYSQL_DML, "ANALYZE FORMAT=JSON DELETE FROM t"},
        {MYSQL_DML, "SELECT @a, 1 INTO OUTFILE 'x'"},
        {MYSQL_SESSION, "SELECT IF(COUNT(*) = 0, 'x', 'y') INTO @a FROM t"},
        {MYSQL_SESSION, "SELECT @a := 1"},
        {MYSQL_SESSION, "SET @a = 1"},
        {MYSQL_SESSION, "/*!40101 SET NAMES utf8 */"},
        {MYSQL_SESSION, "PREPARE s FROM 'SELECT 1'"},
        {MYSQL_TEMPORARY, "CREATE TEMPORARY TABLE t (a INT)"},
        {MYSQL_TEMPORARY, "CREATE OR REPLACE TEMPORARY TABLE t (a INT)"},
        {MYSQL_TEMPORARY, "DROP TEMPORARY TABLE IF EXISTS t"},
        {MYSQL_REPEATABLE, "CREATE TABLE IF NOT EXISTS t (a INT)"},
        {MYSQL_REPEATABLE, "CREATE OR REPLACE VIEW v AS SELECT 1"},
        {MYSQL_REPEATABLE, "DROP TABLE IF EXISTS a, b"},
        {MYSQL_REPEATABLE, "CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a)"},
        {MYSQL_REPEATABLE, "ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT, MODIFY b TEXT"},
        {MYSQL_REPEATABLE, "ALTER TABLE t ENGINE=InnoDB"},
        {MYSQL_REPEATABLE, "ALTER TABLE IF EXISTS s.t DROP COLUMN IF EXISTS a"},
        {MYSQL_REPEATABLE, "SET PASSWORD = 'x'"},
        {MYSQL_REPEATABLE, "ANALYZE TABLE t"},
        {MYSQL_REPEATABLE, "ANALYZE NO_WRITE_TO_BINLOG TABLE t"},
        {MYSQL_ONCE, "CREATE TABLE t (a INT)"},
        {MYSQL_ONCE, "CREATE TABLE t AS SELECT 1"},
        {MYSQL_ONCE, "CREATE INDEX i ON t (a)"},
        {MYSQL_ONCE, "CREATE PROCEDURE p() BEGIN DROP TABLE IF EXISTS t; END"},
        {MYSQL_ONCE, "DROP TABLE t"},
        {MYSQL_ONCE, "ALTER TABLE t ADD a INT DEFAULT 1, ADD INDEX (a)"},
        {MYSQL_ONCE, "ALTER TABLE `s`.`t` ADD INDEX i (a)"},
        {MYSQL_ONCE, "ALTER TABLE t DROP COLUMN a, ADD COLUMN IF NOT EXISTS b INT"},
        {MYSQL_ONCE, "ALTER TABLE t DROP COLUMN a, ADD b INT, ADD c INT AFTER b"},
        {MYSQL_ONCE, "ALTER TABLE t CHANGE COLUMN a a TEXT"},
        {MYSQL_ONCE, "ALTER TABLE t RENAME TO u"},
        {MYSQL_ONCE, "ALTER TABLE t ADD PRIMARY KEY (a)"},
        {MYSQL_ONCE, "RENAME TABLE a TO b"},
        {MYSQL_DDL, "RENAME TABLE a TO b, c TO a"},
        {MYSQL_DDL, "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a"},
        {MYSQL_DDL, "ALTER TABLE t CHANGE a `B` INT, CHANGE b a INT"},
        {MYSQL_DDL, "ALTER TABLE t DROP COLUMN a, ADD COLUMN a INT DEFAULT 7"},
        {MYSQL_DDL, "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a)"},
        {MYSQL_DDL, "ALTER TABLE t ADD INDEX (a)"},
        {MYSQL_DDL, "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)"},
        {MYSQL_DDL, "ALTER TABLE t ADD CONSTRAINT FOREIGN KEY (a) REFERENCES u (b)"},
        {MYSQL_DDL, "ALTER TABLE t MODIFY a INT, ADD UNIQUE (a)"},
        {MYSQL_DDL, "TRUNCATE TABLE t"},
        {MYSQL_OPAQUE, "CALL p()"},
        {MYSQL_OPAQUE, "EXECUTE s"},
        {MYSQL_OPAQUE, "DROP TABLE a, b"},
        {MYSQL_OPAQUE, "BEGIN NOT ATOMIC SELECT 1; END"},
        {MYSQL_OPAQUE, "SET STATEMENT max_statement_time=1 FOR DROP TABLE t"},
        {MYSQL_OPAQUE, "CREATE USER a, b"},
        {MYSQL_OPAQUE, "CREATE TEMPORARY SEQUENCE s"},
        {MYSQL_OPAQUE, "CREATE OR REPLACE TEMPORARY SEQUENCE s"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_kind(cases[i].text, cases[i].kind);
}

static int check(const char *text, struct err *err)
{
    struct divided divided;
    int rc;

    divide(&divided, text);
    err_clear(err);
    rc = sql_check(&divided.scan, text, strlen(text), err);
    divided_free(&divided);
    return rc;
}

static void test_refused(void **state)
{
    static const struct {
        unsigned line, statement;
        const char *text, *why;
    } cases[] = {
        {2, 2, "SELECT 1;\nDELIMITER //\nCREATE PROCEDURE p() BEGIN END //\nDELIMITER ;",
         "BfM finds the end"},
        {1, 1, "START TRANSACTION", "transaction control"},
        {1, 1, "BEGIN", "transaction control"},
        {1, 1, "begin work", "transaction control"},
        {1, 2, "SELECT 1; COMMIT", "transaction control"},
        {1, 1, "ROLLBACK TO a", "transaction control"},
        {1, 1, "SAVEPOINT a", "transaction control"},
        {1, 1, "XA START 'x'", "transaction control"},
        {1, 1, "SET autocommit=0", "transaction control"},
        {1, 1, "SET @@session.autocommit=0", "transaction control"},
        {1, 1, "SET @a=1, SESSION `AutoCommit`=0", "transaction control"},
        {1, 1, "LOCK TABLES t READ", "locks of tables"},
        {1, 1, "UNLOCK TABLES", "locks of tables"},
        {1, 1, "FLUSH TABLES t WITH READ LOCK", "locks of tables"},
        {1, 1, "/*!40000 USE x */", "database of its schema"},
        {1, 1, "LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "LOCAL files"},
        {1, 1, "LOAD DATA CONCURRENT LOCAL INFILE 'x' INTO TABLE t", "LOCAL files"},
        {1, 1, "source x.sql", "mysql client"},
        {1, 1, "SELECT 1 \\G", "mysql client"},
        {1, 1, "SET sql_mode = 'STRICT_ALL_TABLES,ANSI_QUOTES'", "quotes and backslashes"},
        {1, 1, "SET SESSION sql_mode=ORACLE", "quotes and backslashes"},
        {1, 1, "SET `sql_mode` = 'ANSI_QUOTES'", "quotes and backslashes"},
        {1, 1, "SET sql_mode = 'EMPTY_STRING_IS_NULL'", "quotes and backslashes"},
        {1, 1, "SET @a = 1, @@session.sql_mode := 4", "quotes and backslashes"},
        {1, 1, "SET NAMES latin1", "utf8mb4"},
        {1, 1, "SET @a = 1, SESSION character_set_client = gbk", "utf8mb4"},
        {1, 1, "SET @@character_set_client := 'sjis'", "utf8mb4"},
        {1, 1, "SET CHARACTER SET 'gbk'", "utf8mb4"},
        {1, 2, "SELECT 1; DO f()", "passes over errors"},
        {1, 1, "SELECT RELEASE_ALL_LOCKS()", "RELEASE_LOCK"},
        {1, 1, "SELECT `release_all_locks`()", "RELEASE_LOCK"},
        {3, 2, "SELECT 1;\n\nCREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; END;\nSELECT 2;",
         "this block has no END"},
        {1, 1, "END", "no BEGIN"},
        {1, 1, "/*!50000 SELECT 1; SELECT 2 */", "executable comment"},
        {1, 1, "{{.Schema}}.x", "begin with a variable"},
        {2, 2, "CREATE TABLE a (b INT);\nCREATE TEMPORARY TABLE t (a INT);", "temporary"},
        {1, 1, "SET @a = LAST_INSERT_ID();\nCREATE TABLE a (b INT)", "what it tells is lost"},
        {2, 2, "CREATE TABLE a (b INT);\nINSERT INTO a VALUES (`row_count`())", "what it tells"},
    };
    static const char *const good[] = {
        "SET NAMES utf8mb4; SET @a = 1; SELECT GET_LOCK('a', 1); SET GLOBAL x = 1",
        "SET sql_mode = ''; SET character_set_client = @saved",
        "SET sql_mode = 'STRICT_ALL_TABLES', foreign_key_checks = 0",
        "SET character_set_client = utf8mb4, character_set_results = latin1",
        "CREATE PROCEDURE p() BEGIN START TRANSACTION; LOCK TABLES t READ; COMMIT; END",
        "CREATE TEMPORARY TABLE t (a INT); INSERT INTO t VALUES (1); DROP TEMPORARY TABLE t",
        "BEGIN NOT ATOMIC SELECT 1; END; SELECT \\N",
        "INSERT INTO a VALUES (1); INSERT INTO b VALUES (LAST_INSERT_ID())",
        "CREATE PROCEDURE p() SELECT LAST_INSERT_ID(); SELECT row_count FROM t",
        "CREATE PROCEDURE p() DO SLEEP(1)",
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (check(cases[i].text, &err) != ERR_INVALID)
            fail_msg("%s: accepted", cases[i].text);
        if (strstr(err.text, cases[i].why) == NULL || err.line != cases[i].line ||
            err.statement != cases[i].statement)
            fail_msg("%s: %s, statement %u, line %u", cases[i].text, err.text, err.statement,
                     err.line);
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (check(good[i], &err) != 0)
            fail_msg("%s: %s", good[i], err.text);
}

static void test_unterminated(void **state)
{
    static const struct {
        unsigned line;
        const char *text, *why;
    } cases[] = {
        {2, "a;\n'b", "unterminated quoted string"},
        {1, "\"x\\\"", "unterminated quoted string"},
        {1, "'x\\", "unterminated quoted string"},
        {3, "\n\n`x\\", "unterminated quoted ident"},
        {2, "\n/* x", "unterminated /* comment"},
        {1, "/*+ x", "unterminated /* comment"},
        {2, "\n/*!50000 x", "unterminated executable"},
        {1, "/*! /*! x */ */", "inside of another"},
    };
    struct sql_scan scan;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        sql_scan_init(&scan);
        err_clear(&err);
        assert_int_equal(
            sql_scan_text(&scan, cases[i].text, strlen(cases[i].text), SQL_MYSQL, &err),
            ERR_INVALID);
        assert_non_null(strstr(err.text, cases[i].why));
        assert_int_equal(err.line, cases[i].line);
        sql_scan_free(&scan);
    }
}

static void test_dirty(void **state)
{
    static const struct {
        bool dirty;
        const char *text;
    } cases[] = {
        {false, "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)"},
        {true, "SET foreign_key_checks = 0; DROP TABLE t"},
        {true, "SELECT @a := 1"},
        {true, "SELECT GET_LOCK('a', 1)"},
        {true, "SELECT `get_lock`('a', 1)"},
        {true, "CREATE TEMPORARY TABLE t (a INT)"},
        {true, "CREATE OR REPLACE TEMPORARY TABLE t (a INT)"},
        {true, "CALL p()"},
    };
    struct divided divided;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        divide(&divided, cases[i].text);
        if (sql_dirties_session(&divided.scan, cases[i].text) != cases[i].dirty)
            fail_msg("%s", cases[i].text);
        divided_free(&divided);
    }
}

static void sum(const char *text, char out[HASH_SHA256_HEX])
{
    struct divided divided;
    struct buf scratch;

    buf_init(&scratch, SQL_TEXT_MAX);
    divide(&divided, text);
    assert_int_equal(checksum_sql(&divided.scan, text, &scratch, out), 0);
    divided_free(&divided);
    buf_free(&scratch);
}

static void test_checksum(void **state)
{
    char plain[HASH_SHA256_HEX], commented[HASH_SHA256_HEX], code[HASH_SHA256_HEX];
    char other[HASH_SHA256_HEX];

    (void)state;
    sum("SELECT 1 ;", plain);
    sum("# x\nSELECT /* y */ 1 -- z\n;", commented);
    sum("SELECT 1 /*! + 1 */;", code);
    sum("SELECT 1 /*! + 2 */;", other);
    assert_string_equal(plain, commented);
    assert_string_not_equal(plain, code);
    assert_string_not_equal(other, code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),       cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unterminated), cmocka_unit_test(test_dirty),
        cmocka_unit_test(test_checksum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
