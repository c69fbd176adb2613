/* Env files and how they meet the environment. */
#include "cmocka_all.h"

#include <string.h>

#include "base/mem.h"
#include "server/env.h"

static void parse(const char *text, struct env_file *file)
{
    assert_int_equal(env_file_parse(text, strlen(text), file), 0);
}

static const char *value_of(const struct env_file *file, const char *name)
{
    const char *value = NULL;

    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->vars[i].name, name) == 0)
            value = file->vars[i].value;
    return value;
}

static void expect(const char *text, const char *value)
{
    struct env_file file;

    parse(text, &file);
    if (file.problem_count > 0)
        fail_msg("line %u: %s", file.problems[0].line, file.problems[0].text);
    assert_int_equal(file.count, 1);
    assert_string_equal(file.vars[0].name, "A");
    assert_string_equal(file.vars[0].value, value);
    env_file_free(&file);
}

static void test_plain_values(void **state)
{
    (void)state;
    expect("A=1", "1");
    expect("A=1\n", "1");
    expect("  A=1  \r\n", "1");
    expect("\xef\xbb\xbf"
           "A=1\n",
           "1");
    expect("A=\n", "");
    expect("A=  spaced out  \n", "spaced out");
    expect("A=x=y\n", "x=y");
    expect("A=a#b # comment\n", "a#b");
    expect("A=#b\n", "#b");
    expect("A= # comment\n", "");
    expect("A=it's\n", "it's");
    expect("# first\n\n   # second\nA=1\n# last", "1");
    expect("export A=1\n", "1");
    expect("export\tA=1\n", "1");
    expect("A=back\\nslash\n", "back\\nslash");
}

static void test_quoted_values(void **state)
{
    (void)state;
    expect("A=''\n", "");
    expect("A=' # \\n \" '\n", " # \\n \" ");
    expect("A=\"a \\\"b\\\" \\\\ \\$HOME \\n\\r\\t|\" # comment\n", "a \"b\" \\ $HOME \n\r\t|");
    expect("A=\"\\x\"\n", "\\x");
    expect("A=\"one\\\ntwo\"\n", "onetwo");
    expect("A='one\ntwo'\n", "one\ntwo");
    expect("A=\"$HOME\"\n", "$HOME");
}

static void test_problems_have_their_line(void **state)
{
    static const char text[] = "A=1\n"
                               "B\n"
                               "2C=3\n"
                               "D='one\n"
                               "two' tail\n"
                               "E = 5\n"
                               "F=6\n"
                               "G=\"open\n";
    static const unsigned lines[] = {2, 3, 4, 6, 8};
    struct env_file file;

    (void)state;
    parse(text, &file);
    assert_int_equal(file.problem_count, ARRAY_SIZE(lines));
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_int_equal(file.problems[i].line, lines[i]);
    assert_string_equal(value_of(&file, "A"), "1");
    assert_string_equal(value_of(&file, "F"), "6");
    env_file_free(&file);
}

static void test_nul_byte(void **state)
{
    struct env_file file;

    (void)state;
    assert_int_equal(env_file_parse("A=1\nB=\0", 7, &file), 0);
    assert_int_equal(file.problem_count, 1);
    assert_int_equal(file.problems[0].line, 2);
    assert_int_equal(file.count, 0);
    env_file_free(&file);
}

static void test_environment_wins(void **state)
{
    const char *const strings[] = {"A=env", "B=", "=odd", "none", "A=second", NULL};
    struct env_file file;
    struct env env;

    (void)state;
    parse("A=file\nB=file\nC=first\nC=last\nD=\n", &file);
    assert_int_equal(env_init(&env, strings, &file), 0);
    assert_string_equal(env_get(&env, "A"), "env");
    assert_string_equal(env_get(&env, "B"), "file"); /* empty counts as unset */
    assert_string_equal(env_get(&env, "C"), "last");
    assert_null(env_get(&env, "D"));
    assert_null(env_get(&env, "none"));
    assert_int_equal(env.count, 3);
    for (size_t i = 1; i < env.count; i++)
        assert_true(strcmp(env.vars[i - 1].name, env.vars[i].name) < 0);
    env_free(&env);
    env_file_free(&file);
}

static void test_every_allocation_fails(void **state)
{
    const char *const strings[] = {"A=env", "E=5", NULL};
    static const char text[] = "B=\"x\\n\"\nbad\nC='y'\nD=z\n";

    (void)state;
    for (unsigned nth = 1;; nth++) {
        struct env_file file;
        struct env env;
        int rc;

        mem_fail_at(nth, 1);
        rc = env_file_parse(text, strlen(text), &file);
        if (rc == 0)
            rc = env_init(&env, strings, &file);
        else
            assert_int_equal(env_init(&env, strings, NULL), ERR_NOMEM);
        mem_fail_at(0, 0);
        env_free(&env);
        env_file_free(&file);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_NOMEM);
        assert_true(nth < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_values),
        cmocka_unit_test(test_quoted_values),
        cmocka_unit_test(test_problems_have_their_line),
        cmocka_unit_test(test_nul_byte),
        cmocka_unit_test(test_environment_wins),
        cmocka_unit_test(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
