#ifndef BFM_TESTS_SIM_RUN_FIXTURE_H
#define BFM_TESTS_SIM_RUN_FIXTURE_H

#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "fake_world.h"

/* A tree of a few migrations, and runs of it to their ends. */
#define FILE_OF(path_, text_)                                  \
    {                                                          \
        .path = path_, .text = text_, .len = sizeof(text_) - 1 \
    }

static const struct registry_file files[] = {
    FILE_OF("postgresql/core/20250101000000_first.up.sql", "CREATE TABLE first (id int);"),
    FILE_OF("postgresql/core/20250101000000_first.down.sql", "DROP TABLE first;"),
    FILE_OF("postgresql/core/20250102000000_second.up.sql",
            "-- bfm-depends: first\nCREATE TABLE second (id int);"),
    FILE_OF("postgresql/core/20250102000000_second.down.sql", "DROP TABLE second;"),
    FILE_OF("postgresql/core/20250103000000_third.up.sql", "CREATE TABLE third (id int);"),
    FILE_OF("postgresql/other/20250105000000_elsewhere.up.sql", "CREATE TABLE elsewhere (id int);"),
    FILE_OF("postgresql/core/core_users_20250104000000_users.sql", "CREATE TABLE users (id int);"),
    FILE_OF("postgresql/core/core_users_20250104000000_users_down.sql", "DROP TABLE users;"),
};

#define FIRST  "20250101000000_first_postgresql_core"
#define SECOND "20250102000000_second_postgresql_core"
#define THIRD  "20250103000000_third_postgresql_core"
#define USERS  "20250104000000_users_postgresql_core"

static inline void on_done(struct run *run)
{
    bool *flag = run->data;

    if (flag != NULL)
        *flag = true;
}

static inline struct run_request up_request(const char *const *schemas, size_t count)
{
    return (struct run_request){
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
        .schemas = schemas,
        .schema_count = count,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
    };
}

/* Starts a run and turns the world until it is idle. NULL: refused. */
static inline struct run *run_to_end(struct fake_world *world, const struct run_request *request)
{
    struct run *run = NULL;
    struct err err = {0};
    bool done = false;

    if (run_start(&world->engine, request, on_done, &done, &run, &err) != 0)
        return NULL;
    assert_false(done);
    fake_world_settle(world);
    assert_true(done);
    run->data = NULL;
    return run;
}

static inline unsigned count_kind(const struct run *run, enum run_item_kind kind)
{
    unsigned count = 0;

    for (size_t i = 0; i < run->lane_count; i++)
        for (size_t j = 0; j < run->lanes[i].count; j++)
            count += run->lanes[i].items[j].kind == kind;
    return count;
}

static inline const struct run_item *find_item(const struct run *run, size_t lane, const char *id)
{
    for (size_t j = 0; j < run->lanes[lane].count; j++)
        if (strcmp(run->lanes[lane].items[j].migration->id, id) == 0)
            return &run->lanes[lane].items[j];
    return NULL;
}

static inline struct run_request down_request(const struct fake_world *world, const char *id,
                                              const char *const *schemas, size_t count)
{
    return (struct run_request){
        .kind = RUN_DOWN,
        .migration = registry_find(world->engine.registry, id),
        .schemas = schemas,
        .schema_count = count,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
    };
}

#endif
